"""Several streams side by side: sources of rows, each sorted by time, brought to common stretches of time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from airflow_provider_btrdb.devserver.merge import NO_POINTS, Points, Times, Values, join

RAW_DTYPE = np.dtype([("time", "<i8"), ("value", "<f8")])
Rows = npt.NDArray[np.void]


def rows_of(points: Points) -> Rows:
    """Points as rows of RAW_DTYPE."""
    rows = np.empty(len(points.t), RAW_DTYPE)
    rows["time"], rows["value"] = points.t, points.v
    return rows


async def raw_rows(blocks: AsyncIterator[Points]) -> AsyncIterator[Rows]:
    """Blocks of points as blocks of rows."""
    async for block in blocks:
        yield rows_of(block)


async def distinct(blocks: AsyncIterator[Points]) -> AsyncIterator[Rows]:
    """Of several points of one time the one that was inserted first."""
    async for block in blocks:
        keep = np.ones(len(block.t), np.bool_)
        keep[1:] = block.t[1:] != block.t[:-1]
        yield rows_of(block.take(keep))


async def snapped(blocks: AsyncIterator[Points], period: int, start: int, end: int) -> AsyncIterator[Rows]:
    """Points moved to the nearest multiple of `period` (the later one from half way on) that is in [start, end).

    Of several points of a cell the nearest wins, the earlier one on a tie.
    """
    best = NO_POINTS
    async for block in blocks:
        cells, points = _nearest_of_cells(join([best, block]), period)
        best = points.take(slice(-1, None))
        if len(cells) > 1:
            yield _within(cells[:-1], points.v[:-1], start, end)
    if len(best.t):
        cells, points = _nearest_of_cells(best, period)
        yield _within(cells, points.v, start, end)


def _nearest_of_cells(points: Points, period: int) -> tuple[Times, Points]:
    cells = (points.t + np.int64(period // 2)) // np.int64(period) * np.int64(period)
    order = np.lexsort((points.t, np.abs(points.t - cells), cells))
    cells = cells[order]
    first = np.ones(len(cells), np.bool_)
    first[1:] = cells[1:] != cells[:-1]
    return cells[first], Points(points.t[order][first], points.v[order][first])


def _within(cells: Times, values: Values, start: int, end: int) -> Rows:
    inside = (cells >= start) & (cells < end)
    return rows_of(Points(cells[inside], values[inside]))


async def side_by_side(sources: Sequence[AsyncIterator[Rows]]) -> AsyncIterator[list[Rows]]:
    """Per stretch of time the rows of every source. A source never parts rows of one time into two blocks."""
    heads: list[Rows | None] = [None] * len(sources)
    ended = [False] * len(sources)
    while True:
        for index, source in enumerate(sources):
            while not ended[index] and not _some(heads[index]):
                heads[index] = await anext(source, None)
                ended[index] = heads[index] is None
        if all(ended) and not any(_some(head) for head in heads):
            return
        # Up to there every source that goes on has told everything.
        known = [int(head["time"][-1]) for head, end in zip(heads, ended, strict=True) if head is not None and not end]
        cuts = [_upto(head, min(known) if known else None) for head in heads]
        yield [
            head[:cut] if head is not None else np.empty(0, RAW_DTYPE) for head, cut in zip(heads, cuts, strict=True)
        ]
        heads = [
            None if head is None or cut == len(head) else head[cut:] for head, cut in zip(heads, cuts, strict=True)
        ]


def _some(head: Rows | None) -> bool:
    return head is not None and len(head) > 0


def _upto(head: Rows | None, horizon: int | None) -> int:
    if head is None:
        return 0
    return len(head) if horizon is None else int(np.searchsorted(head["time"], horizon, side="right"))


def table(parts: Sequence[Rows]) -> list[Any]:
    """Times and one column per source, NaN where a source has no row; a source has each time once."""
    times = np.unique(np.concatenate([part["time"] for part in parts]))
    columns: list[Any] = [times]
    for part in parts:
        column = np.full(len(times), np.nan)
        column[np.searchsorted(times, part["time"])] = part["value"]
        columns.append(column)
    return columns
