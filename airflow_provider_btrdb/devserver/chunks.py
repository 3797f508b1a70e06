"""How points lie in chunks, as pure functions: where new ones belong, where to cut, and which chunks to fuse.

Chunks of one version never share a time, so that points of the same time stay together. Small inserts make small
chunks; eight neighbours of one size class are fused into one of the next, as in a log-structured tree: a point is
rewritten a handful of times, and a read meets few chunks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from airflow_provider_btrdb.devserver.merge import Points, Times

CHUNK_POINTS = 16_384
"""A chunk is cut there (256 KiB); only points of one single time may make it longer."""
FAN_OUT = 8
CLASSES = (0, 8, 64, 512, 4096, CHUNK_POINTS // 2)
"""Bounds of the size classes; a chunk of the last bound or more is left alone."""


class Share(NamedTuple):
    """New points from `first` to before `last` that belong together."""

    chunk: int | None
    """The index of the chunk that covers their times; None between chunks."""
    before: int
    """How many chunks lie before them."""
    first: int
    last: int


def place(tmins: Times, tmaxs: Times, t: Times) -> Iterator[Share]:
    """Deal sorted times to disjoint, sorted chunks and the gaps between."""
    if not len(t):
        return
    left = np.searchsorted(tmins, t, side="right") - 1
    inside = (left >= 0) & (t <= tmaxs[np.maximum(left, 0)]) if len(tmaxs) else np.zeros(len(t), np.bool_)
    slot = 2 * left + np.where(inside, 1, 2)
    cuts = [0, *(np.flatnonzero(slot[1:] != slot[:-1]) + 1).tolist(), len(t)]
    for first, last in pairwise(cuts):
        index = int(left[first])
        yield Share(index if inside[first] else None, index if inside[first] else index + 1, first, last)


def cut(points: Points) -> list[Points]:
    """Pieces of about the same size, none above the limit; points of one time are never parted."""
    count = len(points.t)
    if count <= CHUNK_POINTS:
        return [points] if count else []
    pieces: list[Points] = []
    start = 0
    wanted = -(-count // -(-count // CHUNK_POINTS))
    while start < count:
        end = min(start + wanted, count)
        if end < count and points.t[end] == points.t[end - 1]:
            begin = int(np.searchsorted(points.t, points.t[end]))
            end = begin if begin > start else int(np.searchsorted(points.t, points.t[end], side="right"))
        pieces.append(points.take(slice(start, end)))
        start = end
    return pieces


def fuse(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Which neighbours [i, j) to make one, given the sizes of chunks in order of time."""
    groups = [(index, index + 1, size) for index, size in enumerate(sizes)]
    for least, limit in pairwise(CLASSES):
        fused: list[tuple[int, int, int]] = []
        run: list[tuple[int, int, int]] = []
        for group in [*groups, None]:
            if group is not None and group[2] < limit:
                run.append(group)
                continue
            # Smaller ones in between go along, but do not count: a large chunk is not rewritten for a few points.
            full = sum(size >= least for _, _, size in run) >= FAN_OUT
            fused.extend(_pack(run) if full else run)
            run = []
            if group is not None:
                fused.append(group)
        groups = fused
    return [(first, last) for first, last, _ in groups if last - first > 1]


def _pack(run: Sequence[tuple[int, int, int]]) -> Iterator[tuple[int, int, int]]:
    """Neighbours as full as the limit allows."""
    first, last, size = run[0]
    for group in run[1:]:
        if size + group[2] > CHUNK_POINTS:
            yield first, last, size
            first, size = group[0], 0
        last, size = group[1], size + group[2]
    yield first, last, size


def encode(points: Points) -> bytes:
    """A chunk as it is stored: all times, then all values, little-endian."""
    return points.t.astype("<i8", copy=False).tobytes() + points.v.astype("<f8", copy=False).tobytes()


def decode(data: bytes, count: int) -> Points:
    """The points of a stored chunk, without a copy."""
    return Points(np.frombuffer(data, "<i8", count), np.frombuffer(data, "<f8", count, offset=8 * count))
