"""Rules about many streams together, in one pass: per stream some 12 to 28 bytes are kept, never the stream.

Values are known by 64 bits of a hash. Whatever is reported is read once more and compared by value, so that no two
different values are ever called equal; two out of a million streams are overlooked with a chance of 1 to 10**7.
"""

from __future__ import annotations

from array import array
from typing import Any, NamedTuple

import numpy as np

from airflow_provider_btrdb.audit.fields import Seen, value_of
from airflow_provider_btrdb.audit.rows import target_of
from airflow_provider_btrdb.audit.suites import Consistent, RefersTo, Unique

MOST_GROUPS = 1_000
"""Groups and references of one check that are read again, to say what is wrong; the others are counted."""


class Uuids:
    """Of all streams of a pass, 16 bytes each."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._hashes: Any = None

    def __len__(self) -> int:
        return len(self._bytes) // 16

    def add(self, uuid: bytes) -> None:
        """The next one."""
        self._bytes += uuid

    def __getitem__(self, position: int) -> bytes:
        return bytes(self._bytes[16 * position : 16 * position + 16])

    def hashes(self) -> Any:
        """Of all of them, 8 bytes each; made once."""
        if self._hashes is None or len(self._hashes) != len(self):
            self._hashes = np.fromiter((hash(self[at]) for at in range(len(self))), np.int64, len(self))
        return self._hashes


class Group(NamedTuple):
    """Streams that should not go together as they do."""

    members: tuple[tuple[bytes, int], ...]
    """Of `unique`: the least and the largest uuid. Of `consistent`: for each value the least uuid, and how many streams
    have it, the most frequent first."""
    size: int
    """Streams; of `consistent`, values."""


class KeyState:
    """What `unique` keeps."""

    def __init__(self, rule: Unique, uuids: Uuids) -> None:
        self._values = [value_of(field) for field in rule.fields]
        self._uuids = uuids
        self._hashes = array("q")
        self._positions = array("I")

    def see(self, seen: Seen) -> None:
        """The next stream; it is the last of `uuids`."""
        key = tuple([value(seen) for value in self._values])
        if None not in key:
            self._hashes.append(hash(key))
            self._positions.append(len(self._uuids) - 1)

    def groups(self) -> tuple[int, int, list[Group]]:
        """How many keys there are, how many several streams have, and the first of those."""
        order, bounds = _runs(_column(self._hashes))
        sizes = np.diff(bounds)
        bad = np.flatnonzero(sizes > 1)
        positions = _column(self._positions)
        found = []
        for start, size in zip(bounds[bad[:MOST_GROUPS]].tolist(), sizes[bad[:MOST_GROUPS]].tolist(), strict=True):
            uuids = [self._uuids[position] for position in positions[order[start : start + size]].tolist()]
            found.append(Group(((min(uuids), 1), (max(uuids), 1)), size))
        return len(sizes), len(bad), found


class ValueState:
    """What `consistent` keeps."""

    def __init__(self, rule: Consistent, uuids: Uuids) -> None:
        self._value = value_of(rule.field)
        self._by = [value_of(field) for field in rule.by]
        self._uuids = uuids
        self._groups = array("q")
        self._hashes = array("q")
        self._positions = array("I")

    def see(self, seen: Seen) -> None:
        """The next stream; it is the last of `uuids`."""
        value = self._value(seen)
        group = tuple([by(seen) for by in self._by])
        if value is not None and None not in group:
            self._groups.append(hash(group))
            self._hashes.append(hash(value))
            self._positions.append(len(self._uuids) - 1)

    def groups(self) -> tuple[int, int, list[Group]]:
        """How many groups there are, how many have several values, and the first of those."""
        hashes, positions = _column(self._hashes), _column(self._positions)
        order, bounds = _runs(_column(self._groups))
        sorted_hashes = hashes[order]
        begins = bounds[:-1]
        if not len(begins):
            return 0, 0, []
        differ = np.minimum.reduceat(sorted_hashes, begins) != np.maximum.reduceat(sorted_hashes, begins)
        bad = np.flatnonzero(differ)
        found = [
            self._group(sorted_hashes[a:b], positions[order[a:b]])
            for a, b in zip(bounds[bad[:MOST_GROUPS]], bounds[bad[:MOST_GROUPS] + 1], strict=True)
        ]
        return len(begins), len(bad), found

    def _group(self, hashes: Any, positions: Any) -> Group:
        members: dict[int, tuple[bytes, int]] = {}
        for value, position in zip(hashes.tolist(), positions.tolist(), strict=True):
            uuid = self._uuids[position]
            least, count = members.get(value, (uuid, 0))
            members[value] = min(least, uuid), count + 1
        return Group(tuple(sorted(members.values(), key=lambda one: (-one[1], one[0]))), len(members))


class ReferenceState:
    """What `refers_to` keeps: who refers, and to what."""

    def __init__(self, rule: RefersTo, uuids: Uuids) -> None:
        self._value = value_of(rule.field)
        self._uuids = uuids
        self._targets = bytearray()
        self._hashes = array("q")
        self._positions = array("I")
        self.checked = 0

    def see(self, seen: Seen) -> str | None:
        """The next stream; the value where it is no uuid at all."""
        self.checked += 1
        value = self._value(seen)
        if value is None:
            return None
        target = target_of(value)
        if target is None:
            return value
        self._targets += target
        self._hashes.append(hash(target))
        self._positions.append(len(self._uuids) - 1)
        return None

    def unseen(self, others: array[int] | None = None) -> list[int]:
        """The references, as positions for `reference`, to streams that are neither in the pass nor in `others`.

        `others` are hashes of uuids.
        """
        there = self._uuids.hashes()
        if others is not None:
            there = np.concatenate((there, _column(others)))
        missing: list[int] = np.flatnonzero(~np.isin(_column(self._hashes), there)).tolist()
        return missing

    def reference(self, at: int) -> tuple[bytes, bytes]:
        """A stream, and the uuid that it refers to."""
        return self._uuids[self._positions[at]], bytes(self._targets[16 * at : 16 * at + 16])


def _column(values: array[int]) -> Any:
    return np.frombuffer(values, values.typecode) if values else np.empty(0, np.int64)


def _runs(keys: Any) -> tuple[Any, Any]:
    """The order that brings equal keys together, first seen first, and where each run of them begins, and the end."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1
    begins = np.concatenate(([0], edges, [len(keys)])) if len(keys) else np.array([0])
    return order, begins
