"""What an insert does to the points that are there: pure numpy, one function per question.

Points are two arrays of the same length, `t` (int64 nanoseconds, not decreasing) and `v` (float64). Points of the same
time stand in the order in which they were inserted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

Times = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

MAX_RANGES = 64


class Points(NamedTuple):
    """Sorted points."""

    t: Times
    v: Values

    def take(self, which: Mask | slice) -> Points:
        """Some of them, in the same order."""
        return Points(self.t[which], self.v[which])


NO_POINTS = Points(np.empty(0, np.int64), np.empty(0, np.float64))


class Merged(NamedTuple):
    """The outcome of a merge."""

    points: Points
    touched: Times
    """The times at which something changed, sorted."""


def join(parts: list[Points]) -> Points:
    """Stretches of points that follow each other, as one."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_POINTS
    return Points(np.concatenate([part.t for part in parts]), np.concatenate([part.v for part in parts]))


def arrange(t: Times, v: Values, policy: int) -> Points:
    """The points of one insert in order, with the policy applied among themselves.

    RETAIN keeps the first point of a time and REPLACE the last; EQUAL drops repetitions of time and value.
    """
    if len(t) > 1 and bool((t[1:] < t[:-1]).any()):
        order = np.argsort(t, kind="stable")
        t, v = t[order], v[order]
    new = Points(t, v)
    if policy == pb.NEVER or len(t) < 2 or not bool((t[1:] == t[:-1]).any()):
        return new
    keep = np.ones(len(t), np.bool_)
    if policy == pb.RETAIN:
        keep[1:] = t[1:] != t[:-1]
    elif policy == pb.REPLACE:
        keep[:-1] = t[1:] != t[:-1]
    else:
        keep = ~_repeats(t, v)
    return new.take(keep)


def merge(old: Points, new: Points, policy: int) -> Merged:
    """Bring arranged points into what is there.

    NEVER keeps everything; EQUAL drops a new point whose time and value are there; RETAIN drops a new point whose time
    is there; REPLACE removes all old points of a new point's time. Points of other times are left alone, also where
    several share a time.
    """
    if len(old.t) and policy == pb.EQUAL:
        repeats = _repeats(np.concatenate([old.t, new.t]), np.concatenate([old.v, new.v]))
        new = new.take(~repeats[len(old.t) :])
    elif len(old.t) and policy == pb.RETAIN:
        new = new.take(~_contained(new.t, old.t))
    elif len(old.t) and policy == pb.REPLACE:
        old = old.take(~_contained(old.t, new.t))
    if not len(new.t):
        return Merged(old, new.t)
    both = join([old, new])
    if len(old.t) and old.t[-1] > new.t[0]:
        order = np.argsort(both.t, kind="stable")
        both = Points(both.t[order], both.v[order])
    return Merged(both, new.t)


def _repeats(t: Times, v: Values) -> Mask:
    """Which points have the same time and value as an earlier one."""
    order = np.lexsort((np.arange(len(t)), v, t))
    again = np.zeros(len(t), np.bool_)
    again[1:] = (t[order][1:] == t[order][:-1]) & (v[order][1:] == v[order][:-1])
    mask = np.empty(len(t), np.bool_)
    mask[order] = again
    return mask


def _contained(these: Times, those: Times) -> Mask:
    """Which of `these` are among `those` (both sorted)."""
    if not len(those):
        return np.zeros(len(these), np.bool_)
    at = np.minimum(np.searchsorted(those, these), len(those) - 1)
    return np.asarray(those[at] == these, np.bool_)


def ranges(lows: Times, highs: Times) -> tuple[list[int], list[int]]:
    """At most 64 half-open ranges that cover sorted, disjoint [low, high] stretches, cut at the wide gaps.

    A gap is wide if it is more than a 64th of the whole: fewer than 64 of those fit in.
    """
    if not len(lows):
        return [], []
    gaps = lows[1:].astype(np.float64) - highs[:-1].astype(np.float64)
    wide = np.flatnonzero(gaps > (float(highs[-1]) - float(lows[0])) / MAX_RANGES)
    starts = lows[np.concatenate([[0], wide + 1])]
    ends = highs[np.concatenate([wide, [len(highs) - 1]])] + 1
    return starts.tolist(), ends.tolist()


def round_bits(v: Values, bits: int) -> Values:
    """RoundSpec.bits: the lowest `bits` of the 52 mantissa bits become zero, rounding to nearest, halves to even.

    The exact rule of the production server is unknown; this is the natural reading of "round to a bit boundary".
    """
    if bits == 0:
        return v
    raw = v.view(np.uint64)
    unit = np.uint64(1 << bits)
    odd = (raw >> np.uint64(bits)) & np.uint64(1)
    rounded = raw + (unit >> np.uint64(1)) - np.uint64(1) + odd
    result = (rounded & ~(unit - np.uint64(1))).view(np.float64)
    return np.where(np.isfinite(result), result, v)
