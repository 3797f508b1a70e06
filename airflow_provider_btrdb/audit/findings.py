"""Failures as they are found: counted all, the first of a check kept, and many of them written to a file at once.

So that an audit in which everything fails takes no more memory than one in which nothing does.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

from airflow_provider_btrdb.audit.results import Failure, Severity
from airflow_provider_btrdb.audit.suites import Check

MOST_STORED = 10_000
"""Failures of one check that are written down; the others are counted."""
MOST_OF_RUN = 200_000
"""When so many of all checks are written down, each check adds no more than its sample."""


class Spool:
    """The failures of a run as JSON lines, in a file that goes with the object."""

    def __init__(self) -> None:
        self.count = 0
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=4 << 20)  # noqa: SIM115 - closed by `close`

    def write(self, check: str, failure: Failure) -> None:
        """One more line."""
        row = {"check": check, **failure.model_dump(exclude_defaults=True)}
        self.count += 1
        self._file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

    def lines(self) -> Iterator[bytes]:
        """All lines, each with its line break."""
        self._file.seek(0)
        yield from self._file

    def close(self) -> None:
        """Forget them."""
        self._file.close()


class Findings:
    """What one check finds."""

    def __init__(self, check: Check, spool: Spool, places: Counter[str]) -> None:
        self.check = check
        self._spool = spool
        self._places = places
        self.failed = 0
        self.hard = 0
        self.stored = 0
        self.sample: list[Failure] = []
        self.ids: set[bytes] = set()
        """Of those that are stored, 8 bytes each."""

    def add(self, identity: tuple[str, ...], message: str, *, warns: bool = False, **facts: Any) -> None:
        """One more failure; `identity` tells it from the others of this check, in every run the same."""
        warns = warns or self.check.severity == "warn"
        self.count(hard=not warns)
        if facts.get("collection"):
            self._places[facts["collection"]] += 1
        if self.stored >= (MOST_STORED if self._spool.count < MOST_OF_RUN else self.check.sample):
            return
        severity: Severity = "warn" if warns else "error"
        key = failure_id(self.check.name, identity)
        failure = Failure(id=key.hex(), message=message, severity=severity, **facts)
        self._spool.write(self.check.name, failure)
        self.ids.add(key)
        self.stored += 1
        if len(self.sample) < self.check.sample:
            self.sample.append(failure)

    def count(self, *, hard: bool | None = None) -> None:
        """One more failure that nothing more is known of."""
        self.failed += 1
        self.hard += self.check.severity == "error" if hard is None else hard


def failure_id(check: str, identity: tuple[str, ...]) -> bytes:
    """8 bytes."""
    text = json.dumps([check, *identity])
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
