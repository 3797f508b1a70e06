"""Windows: points folded into min, mean, max, count and population standard deviation, a stretch at a time.

Two passes over each stretch (one-pass formulas lose digits), and stretches of one window are joined with the formula of
Chan, Golub and LeVeque; so no window has to be in memory as a whole. Empty windows do not appear.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import numpy as np
import numpy.typing as npt

from airflow_provider_btrdb.devserver.merge import Points, Times
from airflow_provider_btrdb.devserver.pages import WINDOW_DTYPE

Rows = npt.NDArray[np.void]

_PARTIAL = np.dtype([*((name, WINDOW_DTYPE[name]) for name in WINDOW_DTYPE.names or ()), ("m2", "<f8")])


def aligned(point_width: int) -> Callable[[Times], Times]:
    """The start of each time's window of 2^point_width ns."""
    return lambda t: (t >> np.int64(point_width)) << np.int64(point_width)


def stepped(start: int, width: int) -> Callable[[Times], Times]:
    """The start of each time's window, counted from `start`; times are not before it."""
    return lambda t: t - (t - np.int64(start)) % np.int64(width)


def aligned_range(start: int, end: int, point_width: int) -> tuple[int, int]:
    """[start, end) floored to the grid; may be empty."""
    return start >> point_width << point_width, end >> point_width << point_width


def stepped_range(start: int, end: int, width: int) -> tuple[int, int]:
    """[start, end) without the window that `end` would cut; may be empty."""
    return start, start + (end - start) // width * width


async def fold(blocks: AsyncIterator[Points], window_of: Callable[[Times], Times]) -> AsyncIterator[Rows]:
    """Rows of WINDOW_DTYPE in order of time."""
    open_window = np.empty(0, _PARTIAL)
    async for block in blocks:
        rows = _join(open_window, _partials(block, window_of(block.t)))
        open_window = rows[-1:]
        if len(rows) > 1:
            yield _finished(rows[:-1])
    if len(open_window):
        yield _finished(open_window)


def _partials(points: Points, windows: Times) -> Rows:
    """One row per window of a stretch."""
    starts = np.concatenate([[0], np.flatnonzero(windows[1:] != windows[:-1]) + 1])
    rows = np.empty(len(starts), _PARTIAL)
    rows["time"] = windows[starts]
    counts = np.diff(starts, append=len(windows))
    rows["count"] = counts
    rows["min"] = np.minimum.reduceat(points.v, starts)
    rows["max"] = np.maximum.reduceat(points.v, starts)
    with np.errstate(over="ignore", invalid="ignore"):
        rows["mean"] = np.add.reduceat(points.v, starts) / counts
        deviations = points.v - np.repeat(rows["mean"], counts)
        rows["m2"] = np.add.reduceat(deviations * deviations, starts)
    return rows


def _join(left: Rows, right: Rows) -> Rows:
    """Two neighbouring stretches; a window that both have becomes one row."""
    if not len(left) or left["time"][-1] != right["time"][0]:
        return np.concatenate([left, right])
    a, b = left[-1], right[0].copy()
    na, nb = float(a["count"]), float(b["count"])
    with np.errstate(over="ignore", invalid="ignore"):
        delta = b["mean"] - a["mean"]
        b["mean"] = a["mean"] + delta * (nb / (na + nb))
        b["m2"] += a["m2"] + delta * delta * (na * nb / (na + nb))
    b["min"], b["max"] = min(a["min"], b["min"]), max(a["max"], b["max"])
    b["count"] += a["count"]
    joined = np.concatenate([left[:-1], right])
    joined[len(left) - 1] = b
    return joined


def _finished(partials: Rows) -> Rows:
    rows = np.empty(len(partials), WINDOW_DTYPE)
    for name in WINDOW_DTYPE.names or ():
        if name != "stddev":
            rows[name] = partials[name]
    with np.errstate(over="ignore", invalid="ignore"):
        rows["stddev"] = np.sqrt(partials["m2"] / partials["count"])
    return rows


async def paged(rows: AsyncIterator[Rows], size: int) -> AsyncIterator[Rows]:
    """The same rows in pages of at most `size`; one empty page if there are none."""
    waiting = np.empty(0, WINDOW_DTYPE)
    some = False
    async for part in rows:
        waiting = np.concatenate([waiting, part])
        while len(waiting) > size:
            some = True
            yield waiting[:size]
            waiting = waiting[size:]
    if len(waiting) or not some:
        yield waiting
