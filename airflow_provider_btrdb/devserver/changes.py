"""What changed between two versions, from the ranges that every commit leaves behind."""

from __future__ import annotations

import uuid as uuidlib
from collections.abc import Iterator

import numpy as np

from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.errors import Refusal
from airflow_provider_btrdb.devserver.merge import Times
from airflow_provider_btrdb.devserver.points import Allow, PointReader
from airflow_provider_btrdb.protocol import Code

LAST = (1 << 63) - 1


class ChangeReader:
    """Changes of one database."""

    def __init__(self, database: Database, reader: PointReader) -> None:
        self._database = database
        self._reader = reader

    async def between(
        self, uuid: uuidlib.UUID, after: int, upto: int, resolution: int, allow: Allow
    ) -> tuple[int, list[tuple[int, int]]]:
        """The version compared with, and half-open ranges, sorted, apart, grown to multiples of 2^resolution ns.

        Changes of the versions after `after` up to and including `upto`; 0 means before the first, and the newest.
        """
        newest = await self._reader.version(uuid, allow)
        upto = upto or newest
        if after > upto:
            raise Refusal(Code.INVALID_VERSIONS, "the from version is after the to version")
        if upto > newest:
            raise Refusal(Code.VERSION_NOT_AVAILABLE, f"version {upto} is not available")
        rows = await self._database.fetch(
            # Many commits touch the same times: PostgreSQL unites their ranges before they travel.
            "SELECT lower(r), upper(r) FROM unnest(("
            "SELECT range_agg(int8range(lo, hi)) FROM btrdb.op o, unnest(o.los, o.his) AS part (lo, hi) "
            "WHERE o.sid = (SELECT sid FROM btrdb.stream WHERE uuid = %s) AND o.version > %s AND o.version <= %s"
            ")) AS r",
            [uuid, after, upto],
        )
        found = np.array(rows, np.int64).reshape(-1, 2)
        return upto, list(_united(found[:, 0], found[:, 1], resolution))


def _united(los: Times, his: Times, resolution: int) -> Iterator[tuple[int, int]]:
    """Ranges grown to the grid and joined where they touch."""
    if not len(los):
        return
    order = np.argsort(los)
    los, his = los[order] >> resolution << resolution, np.maximum.accumulate((his[order] - 1) >> resolution)
    # The end of the last cell may be 2^63, which int64 does not hold; so ends are compared as cells.
    apart = np.flatnonzero((los[1:] >> resolution) > his[:-1] + 1) + 1
    starts = np.concatenate([[0], apart])
    ends = np.concatenate([apart - 1, [len(los) - 1]])
    for first, last in zip(starts.tolist(), ends.tolist(), strict=True):
        yield int(los[first]), min((int(his[last]) + 1) << resolution, LAST)
