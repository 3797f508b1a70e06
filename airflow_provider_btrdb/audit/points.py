"""Rules about points, decided from windows and nearest points; no check reads raw points.

`Points` asks the server, each question once for a stream however many checks ask it; the rest is pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from airflow_provider_btrdb.audit.durations import NS, duration_text
from airflow_provider_btrdb.audit.rules import POINTS_OF_A_WINDOW
from airflow_provider_btrdb.audit.suites import Complete, Flatline, Fresh, InRange, NotEmpty, NotInFuture, PointRule
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.models import Point, Windows
from airflow_provider_btrdb.client.times import format_ns
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS

MOST_WINDOWS = 2_048
"""Of one call: what it answers stays below 120 kB."""
GAPS_TOLD = 5


class Broken(NamedTuple):
    """What is wrong with the points of a stream."""

    message: str
    warns: bool = False


class Points:
    """What a server says of one stream's points."""

    def __init__(self, calls: AsyncCalls, uuid: bytes, now_ns: int) -> None:
        self._stream = AsyncStream(calls, UUID(bytes=uuid))
        self._known: dict[tuple[Any, ...], Any] = {}
        self.now_ns = now_ns

    async def nearest(self, time_ns: int, *, backward: bool) -> Point | None:
        """See `Stream.nearest`."""
        key = (time_ns, backward)
        if key not in self._known:
            self._known[key] = await self._stream.nearest(time_ns, backward=backward)
        found: Point | None = self._known[key]
        return found

    async def windows(self, start_ns: int, end_ns: int, pointwidth: int) -> Windows:
        """See `Stream.aligned_windows`."""
        key = (start_ns, end_ns, pointwidth)
        if key not in self._known:
            self._known[key] = await self._stream.aligned_windows(start_ns, end_ns, pointwidth)
        found: Windows = self._known[key]
        return found


async def broken(rule: PointRule, points: Points) -> Broken | None:
    """What is wrong; None where nothing is."""
    now = points.now_ns
    if isinstance(rule, Fresh):
        return stale(rule, await points.nearest(now, backward=True), now)
    if isinstance(rule, NotInFuture):
        found = await points.nearest(min(now + rule.tolerance_ns, MAX_TIME_NS - 2) + 1, backward=False)
        return None if found is None else Broken(f"has a point of {format_ns(found.time)}, which is in the future")
    if isinstance(rule, NotEmpty):
        return await _empty(rule, points)
    start, end, pointwidth = span(rule, now)
    windows = await points.windows(start, end, pointwidth)
    if isinstance(rule, Complete):
        return incomplete(rule, windows, start, end, 1 << pointwidth)
    return out_of_range(rule, windows) if isinstance(rule, InRange) else flat(rule, windows, 1 << pointwidth)


async def _empty(rule: NotEmpty, points: Points) -> Broken | None:
    newest = await points.nearest(points.now_ns, backward=True)
    if rule.last_ns is not None:
        if newest is not None and newest.time >= points.now_ns - rule.last_ns:
            return None
        return Broken(f"has no point in the last {duration_text(rule.last_ns)}")
    if newest is None and await points.nearest(MIN_TIME_NS, backward=False) is None:
        return Broken("has no points")
    return None


def span(rule: Complete | InRange | Flatline, now_ns: int) -> tuple[int, int, int]:
    """The time that is looked at: start and end on the grid of the windows, both rounded down, and their point width.

    So runs that are a whole `last` apart look at every window once.
    """
    least = rule.last_ns / MOST_WINDOWS
    if isinstance(rule, Complete):
        least = max(least, POINTS_OF_A_WINDOW * NS / rule.rate)
    elif isinstance(rule, Flatline):
        least = max(least, rule.longer_than_ns / 64)
    pointwidth = max(0, math.ceil(math.log2(least)))
    if isinstance(rule, Complete) and (2 << pointwidth) > rule.last_ns:
        pointwidth -= 1
    step = 1 << pointwidth
    start = max(now_ns - rule.last_ns, MIN_TIME_NS)
    return start - start % step, now_ns - now_ns % step, pointwidth


def stale(rule: Fresh, newest: Point | None, now_ns: int) -> Broken | None:
    """The newest point before now is too old, or there is none."""
    if newest is None:
        return Broken("has no point before now")
    age = now_ns - newest.time
    if age <= rule.within_ns:
        return None
    return Broken(f"has no point since {format_ns(newest.time)}, {duration_text(age)} ago")


def incomplete(rule: Complete, windows: Windows, start: int, end: int, step: int) -> Broken | None:
    """Points are missing: of the whole time what the rate makes expect, less what is there.

    A window counts no more points than it should have, rounded up, so that a burst fills no gap.
    """
    number = (end - start) // step
    wanted = rule.rate * step / NS
    counts = np.zeros(number, np.int64)
    counts[(windows.times - start) // step] = np.minimum(windows.count, math.ceil(wanted))
    percent = min(100 * int(counts.sum()) / math.floor(wanted * number), 100.0)
    hard = rule.error_below is not None and percent < rule.error_below
    if not hard and (rule.warn_below is None or percent >= rule.warn_below):
        return None
    gaps = gaps_of(math.floor(wanted) - counts, start, step)
    told = [f"{format_ns(a)} to {format_ns(b)} ({count} missing)" for a, b, count in gaps[:GAPS_TOLD]]
    told += [f"and {len(gaps) - GAPS_TOLD} more"] if len(gaps) > GAPS_TOLD else []
    # Rounded down: 99.996 is no 100.
    said = f"has {math.floor(percent * 100) / 100:.2f}% of its points"
    return Broken(f"{said}; gaps: {', '.join(told)}" if told else f"{said}, without a gap", warns=not hard)


def gaps_of(missing: Any, start: int, step: int) -> list[tuple[int, int, int]]:
    """Neighbouring windows that lack points: (begin, end, how many are missing), the largest first."""
    short = np.flatnonzero(np.diff(np.concatenate(([0], missing > 0, [0])).astype(np.int8)))
    found = [
        (start + int(a) * step, start + int(b) * step, int(missing[a:b].sum()))
        for a, b in zip(short[::2], short[1::2], strict=True)
    ]
    return sorted(found, key=lambda gap: (-gap[2], gap[0]))


def out_of_range(rule: InRange, windows: Windows) -> Broken | None:
    """The smallest or the largest value of a window lies outside."""
    for bound, values, worst, beyond in (
        (rule.least, windows.min, np.argmin, "below"),
        (rule.most, windows.max, np.argmax, "above"),
    ):
        if bound is None or not len(values):
            continue
        at = int(worst(values))
        if values[at] < bound if beyond == "below" else values[at] > bound:
            time = format_ns(int(windows.times[at]))
            return Broken(f"has the value {float(values[at]):g}, {beyond} {bound:g}, in the window of {time}")
    return None


def flat(rule: Flatline, windows: Windows, step: int) -> Broken | None:
    """Windows in a row, empty ones between them left out, have one single value for long enough."""
    longest = (0, 0, 0.0)
    for begin, end in _same(windows.min, windows.max):
        length = int(windows.times[end - 1]) + step - int(windows.times[begin])
        points = int(windows.count[begin:end].sum())
        if points > 1 and length > longest[0]:
            longest = (length, int(windows.times[begin]), float(windows.min[begin]))
    if longest[0] < rule.longer_than_ns:
        return None
    return Broken(f"is {longest[2]:g} for {duration_text(longest[0])} from {format_ns(longest[1])} on")


def _same(least: Any, most: Any) -> Sequence[tuple[int, int]]:
    """Stretches of windows, begin and end, in which all values are the same."""
    found, begin = [], None
    for at in range(len(least) + 1):
        single = at < len(least) and least[at] == most[at]
        if begin is not None and not (single and least[at] == least[begin]):
            found.append((begin, at))
            begin = None
        if single and begin is None:
            begin = at
    return found
