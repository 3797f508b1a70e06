"""Reading again what passes have kept only hashes of, to say what is wrong with it; once for all checks of a run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from contextlib import aclosing
from heapq import nsmallest
from uuid import UUID

from airflow_provider_btrdb.audit.fields import Seen, of_stored, value_of
from airflow_provider_btrdb.audit.findings import Findings
from airflow_provider_btrdb.audit.groups import MOST_GROUPS, Group, ReferenceState
from airflow_provider_btrdb.audit.rows import dangling, target_of
from airflow_provider_btrdb.audit.suites import Consistent, RefersTo, Unique
from airflow_provider_btrdb.audit.telling import VALUES_TOLD, add_consistent, add_stream, add_unique
from airflow_provider_btrdb.catalog.snapshot import read_one
from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import in_flight
from airflow_provider_btrdb.client.errors import PermissionDeniedError
from airflow_provider_btrdb.client.identity import uuid_of
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

MOST_ASKED = 10_000
"""References out of the pass that are asked for one by one; for more of them, everything is listed once more."""
MOST_KNOWN = 20_000
"""Streams that are kept for other checks, which often have the same ones to tell of."""


class Again:
    """What was read again."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._known: dict[bytes, Seen | None] = {}
        self._hashes: array[int] | None = None

    async def read(self, uuids: Iterable[bytes]) -> dict[bytes, Seen]:
        """The streams that are there and may be read."""
        wanted = set(uuids)
        answers = {uuid: self._known[uuid] for uuid in wanted if uuid in self._known}

        async def one(uuid: bytes) -> None:
            try:
                stream = await read_one(self._calls, UUID(bytes=uuid))
            except PermissionDeniedError:
                stream = None
            answers[uuid] = None if stream is None else of_stored(stream)

        await in_flight(self._calls.config.max_in_flight, wanted - answers.keys(), one)
        for uuid, seen in answers.items():
            if len(self._known) < MOST_KNOWN:
                self._known[uuid] = seen
        return {uuid: seen for uuid, seen in answers.items() if seen is not None}

    async def everything(self) -> array[int]:
        """Hashes of the uuids of all streams that the key may see, whatever their collection."""
        if self._hashes is None:
            hashes = array("q")
            request = codec.request(pb.LookupStreamsParams, is_collection_prefix=True)
            async with aclosing(self._calls.pages(rpcs.LOOKUP_STREAMS, request)) as pages:
                async for page in pages:
                    hashes.extend(hash(stream.uuid) for stream in page.results)
            self._hashes = hashes
        return self._hashes


async def tell_groups(
    again: Again, rule: Unique | Consistent, findings: Findings, bad: int, groups: list[Group]
) -> None:
    """Failures of all groups, in words for the first of them; what is gone or mended by now is none."""
    read = await again.read({uuid for group in groups for uuid, _ in group.members[:VALUES_TOLD]})
    for group in groups:
        members = [(read.get(uuid), count) for uuid, count in group.members[:VALUES_TOLD]]
        there = [(seen, count) for seen, count in members if seen is not None]
        fields = rule.fields if isinstance(rule, Unique) else rule.by
        keys = {_key(seen, fields) for seen, _ in there}
        if len(keys) != 1 or len(there) < 2:
            continue
        (key,) = keys
        if isinstance(rule, Unique):
            first, last = (str(uuid_of(seen.uuid)) for seen, _ in there)
            add_unique(rule, findings, key, group.size, (first, last))
            continue
        value = value_of(rule.field)
        values = [(value(seen) or "", count, str(uuid_of(seen.uuid))) for seen, count in there]
        if len({one for one, _, _ in values}) > 1:
            add_consistent(rule, findings, key, values, kinds=group.size)
    for _ in range(bad - len(groups)):
        findings.count()


async def tell_references(again: Again, rule: RefersTo, findings: Findings, state: ReferenceState) -> None:
    """Failures of the references to streams that are nowhere, also not outside of what was listed."""
    missing = state.unseen()
    if len(missing) > MOST_ASKED:
        missing = state.unseen(await again.everything())
    else:
        there = await again.read({state.reference(at)[1] for at in missing})
        missing = [at for at in missing if state.reference(at)[1] not in there]
    told = dict(nsmallest(MOST_GROUPS, map(state.reference, missing)))
    read = await again.read(told)
    value = value_of(rule.field)
    for uuid, target in told.items():
        seen = read.get(uuid)
        text = value(seen) if seen is not None else None
        if seen is not None and text is not None and target_of(text) == target:
            add_stream(findings, uuid, seen.collection, seen.tags.get("name") or "", dangling(rule.field, text))
    for _ in range(len(missing) - len(told)):
        findings.count()


def _key(seen: Seen, fields: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(value_of(field)(seen) or "" for field in fields)
