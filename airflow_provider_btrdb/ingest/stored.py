"""Is what a load would write in the stream already? Compared page by page, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from airflow_provider_btrdb.client.columns import joined_points, without
from airflow_provider_btrdb.client.models import MergePolicy, Points

FOREIGN_PER_POINT = 4
"""Stored points that are read for each point to write, before writing is taken to be cheaper than looking."""
FOREIGN_AT_LEAST = 100_000


def to_store(points: Points, policy: MergePolicy) -> Points:
    """The points by time, without those that the policy drops in favour of others of the same load."""
    bits = points.values.view(np.uint64)
    by_value = policy is MergePolicy.EQUAL
    order = np.lexsort((bits, points.times)) if by_value else points.times.argsort(kind="stable")
    times, values = points.times[order], points.values[order]
    if len(times) == 0 or policy is MergePolicy.NEVER:
        return Points(times, values)
    changes = times[1:] != times[:-1]
    if by_value:
        changes |= bits[order][1:] != bits[order][:-1]
    kept = np.r_[changes, True] if policy is MergePolicy.REPLACE else np.r_[True, changes]
    return Points(times[kept], values[kept])


def all_stored(points: Points, stored: Iterable[Points]) -> bool:
    """Is every point, in the order of `to_store`, among the stored ones, which come in pages by time?

    Other stored points do not matter, but after very many of them the answer is False: then writing costs less.
    """
    seen, at = 0, 0
    limit = max(len(points) * FOREIGN_PER_POINT, FOREIGN_AT_LEAST)
    carried: list[Points] = []
    for page in stored:
        seen += len(page)
        if seen > limit:
            return False
        known = joined_points([*carried, page])
        last = int(known.times[-1])
        end = int(points.times.searchsorted(last))  # points at `last` may go on in the next page
        if len(without(Points(points.times[at:end], points.values[at:end]), known)):
            return False
        at = end
        begin = int(known.times.searchsorted(last))
        carried = [Points(known.times[begin:], known.values[begin:])]
    rest = Points(points.times[at:], points.values[at:])
    return len(without(rest, joined_points(carried))) == 0
