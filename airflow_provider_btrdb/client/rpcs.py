"""One line per RPC that the client makes: which method, and whether it may be repeated.

That a repeat is safe is a fact about the RPC, so it stands here and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from airflow_provider_btrdb.client.policy import Repeat
from airflow_provider_btrdb.protocol import METHODS, Method


@dataclass(frozen=True, slots=True, eq=False)  # every call looks its stub up by the Rpc: by identity
class Rpc:
    """A method and its repeat rule. `raw_request`, `raw_response`: bytes, not messages, for columns of points."""

    method: Method
    repeat: Repeat
    raw_request: bool = False
    raw_response: bool = False

    @property
    def name(self) -> str:
        """The method's name, for errors and logs."""
        return self.method.name


INFO: Final = Rpc(METHODS["Info"], Repeat.YES)
CREATE: Final = Rpc(METHODS["Create"], Repeat.VERIFY)
STREAM_INFO: Final = Rpc(METHODS["StreamInfo"], Repeat.YES)
LOOKUP_STREAMS: Final = Rpc(METHODS["LookupStreams"], Repeat.UNTIL_FIRST_ROW)
LIST_COLLECTIONS: Final = Rpc(METHODS["ListCollections"], Repeat.UNTIL_FIRST_ROW)
METADATA_USAGE: Final = Rpc(METHODS["GetMetadataUsage"], Repeat.YES)
SQL_QUERY: Final = Rpc(METHODS["SQLQuery"], Repeat.UNTIL_FIRST_ROW)
RAW_VALUES: Final = Rpc(METHODS["RawValues"], Repeat.RESUME, raw_response=True)

INSERT_ONCE: Final = Rpc(METHODS["Insert"], Repeat.NO, raw_request=True)
"""Merge policy "never" keeps duplicates: a repeat after a lost reply would store the points twice."""
INSERT_AGAIN: Final = Rpc(METHODS["Insert"], Repeat.YES, raw_request=True)
"""Merge policies "equal", "retain" and "replace": the second time changes nothing."""

ARROW_RAW_VALUES: Final = Rpc(METHODS["ArrowRawValues"], Repeat.RESUME, raw_response=True)
WINDOWS: Final = Rpc(METHODS["Windows"], Repeat.RESUME, raw_response=True)
ALIGNED_WINDOWS: Final = Rpc(METHODS["AlignedWindows"], Repeat.RESUME, raw_response=True)
NEAREST: Final = Rpc(METHODS["Nearest"], Repeat.YES)
CHANGES: Final = Rpc(METHODS["Changes"], Repeat.UNTIL_FIRST_ROW)
FLUSH: Final = Rpc(METHODS["Flush"], Repeat.YES)
SUBSCRIBE: Final = Rpc(METHODS["Subscribe"], Repeat.NO)
"""Reopened by the loop of the subscription, which closes the gap."""
SET_TAGS: Final = Rpc(METHODS["SetStreamTags"], Repeat.VERIFY)
SET_ANNOTATIONS: Final = Rpc(METHODS["SetStreamAnnotations"], Repeat.VERIFY)
OBLITERATE: Final = Rpc(METHODS["Obliterate"], Repeat.VERIFY)
DELETE_AGAIN: Final = Rpc(METHODS["Delete"], Repeat.YES)
DELETE_ONCE: Final = Rpc(METHODS["Delete"], Repeat.NO)
