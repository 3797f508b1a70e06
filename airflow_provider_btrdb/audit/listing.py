"""One pass over the catalogue for all checks that SQL does not answer: a page at a time, in bounded memory."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing
from itertools import islice
from typing import NamedTuple, TypeAlias

import numpy as np

from airflow_provider_btrdb.audit.fields import Seen, of_descriptor, value_of
from airflow_provider_btrdb.audit.findings import Findings
from airflow_provider_btrdb.audit.groups import ReferenceState, Uuids
from airflow_provider_btrdb.audit.rows import dangling, explain
from airflow_provider_btrdb.audit.selectors import Selector, Takes
from airflow_provider_btrdb.audit.suites import RefersTo, RowRule
from airflow_provider_btrdb.audit.telling import add_stream
from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

See: TypeAlias = Callable[[Seen], object]


class Target(NamedTuple):
    """A stream whose points are looked at."""

    uuid: bytes
    collection: str
    name: str


class Targets:
    """Streams whose points are looked at, each kept once, and which of them each selector takes: 4 bytes for each."""

    def __init__(self) -> None:
        self._numbers: dict[Target, int] = {}
        self._taken: dict[Selector, array[int]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, selector: Selector, target: Target) -> None:
        """The selector takes it."""
        number = self._numbers.setdefault(target, len(self._numbers))
        self._taken.setdefault(selector, array("I")).append(number)

    def parts(self, most: int) -> Iterator[dict[Target, list[Selector]]]:
        """All of them, `most` at a time, in the order in which they came: a target, and who takes it."""
        columns = {selector: np.frombuffer(taken, taken.typecode) for selector, taken in self._taken.items()}
        for numbers in columns.values():
            numbers.sort()  # in place: with many checks these are most of what is kept
        streams = iter(self._numbers)
        for at in range(0, len(self), most):
            part: list[tuple[Target, list[Selector]]] = [(target, []) for target in islice(streams, most)]
            for selector, numbers in columns.items():
                for number in numbers[slice(*np.searchsorted(numbers, (at, at + most)))].tolist():
                    part[number - at][1].append(selector)
            yield dict(part)


class Pass:
    """Whoever wants to see streams; `run` shows them all to everybody."""

    def __init__(self, named: Callable[[str], frozenset[bytes]]) -> None:
        self._named = named
        self._watching: dict[Selector, list[See]] = {}
        self.uuids = Uuids()
        self._keeps_uuids = False

    def watch(self, selector: Selector, see: See) -> None:
        """Show the streams of a selector."""
        self._watching.setdefault(selector, []).append(see)

    def keep_uuids(self) -> Uuids:
        """Of all streams that are listed, also those that nobody selects."""
        self._keeps_uuids = True
        return self.uuids

    async def run(self, calls: AsyncCalls, beginning: str) -> None:
        """List everything below a prefix. Raises StreamInterruptedError where that breaks off."""
        groups: list[tuple[Takes, list[See]]] = [
            (selector.takes(self._named), watchers) for selector, watchers in self._watching.items()
        ]
        add_uuid = self.uuids.add if self._keeps_uuids else None
        request = codec.request(pb.LookupStreamsParams, collection=beginning, is_collection_prefix=True)
        async with aclosing(calls.pages(rpcs.LOOKUP_STREAMS, request)) as pages:
            async for page in pages:
                for seen in map(of_descriptor, page.results):
                    if add_uuid is not None:
                        add_uuid(seen.uuid)
                    for takes, watchers in groups:
                        if takes(seen):
                            for see in watchers:
                                see(seen)


class RowWatch:
    """One of `required`, `allowed`, `matches`."""

    def __init__(self, rule: RowRule, findings: Findings) -> None:
        self._values = [value_of(field) for field in rule.fields]
        self._explain = explain(rule)
        self._findings = findings
        self.checked = 0

    def __call__(self, seen: Seen) -> None:
        """Look at the next stream."""
        self.checked += 1
        message = self._explain([value(seen) for value in self._values])
        if message is not None:
            add_stream(self._findings, seen.uuid, seen.collection, seen.tags.get("name") or "", message)


class ReferenceWatch:
    """`refers_to`."""

    def __init__(self, rule: RefersTo, findings: Findings, uuids: Uuids) -> None:
        self._rule = rule
        self._findings = findings
        self.state = ReferenceState(rule, uuids)

    def __call__(self, seen: Seen) -> None:
        """Look at the next stream."""
        bad = self.state.see(seen)
        if bad is not None:
            name = seen.tags.get("name") or ""
            add_stream(self._findings, seen.uuid, seen.collection, name, dangling(self._rule.field, bad))


class CountWatch:
    """`count_between`: counts the collections with all of their streams, and those that meet the conditions."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def all(self, seen: Seen) -> None:
        """A stream of a selected collection."""
        self.counts.setdefault(seen.collection, 0)

    def met(self, seen: Seen) -> None:
        """One that meets the conditions."""
        self.counts[seen.collection] += 1
