"""Which changes have to wait for which: a place must be left before another stream can take it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter

from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.plans import ACTIONS, Change
from airflow_provider_btrdb.provision.specs import Path

Blockers = Mapping[int, Sequence[Change]]
"""By the `id` of a change: the changes that it waits for. Most wait for none and are not there."""


def ordered(changes: Iterable[Change]) -> tuple[list[Change], Blockers]:
    """All changes that can be made, each after those that it waits for; otherwise moves first and destroys last.

    What waits for itself, by way of others, is left out: see `circles`.
    """
    able = sorted((one for one in changes if one.kind in ACTIONS), key=lambda one: ACTIONS.index(one.kind))
    blockers = _blockers(able)
    if not blockers:
        return able, blockers
    position = {id(one): number for number, one in enumerate(able)}
    waits = TopologicalSorter(
        {place: [position[id(other)] for other in blockers.get(id(one), ())] for place, one in enumerate(able)}
    )
    with suppress(CycleError):  # it then gives what is not in a circle
        waits.prepare()
    order: list[Change] = []
    while ready := sorted(waits.get_ready()):
        order += [able[place] for place in ready]
        waits.done(*ready)
    return order, blockers


def circles(changes: Iterable[Change]) -> set[int]:
    """The `id`s of changes that wait for each other, so that none can be the first."""
    able = [one for one in changes if one.kind in ACTIONS]
    order, blockers = ordered(able)
    return {id(one) for one in able} - {id(one) for one in order} if blockers else set()


def _blockers(changes: Sequence[Change]) -> dict[int, list[Change]]:
    taking = [change for change in changes if change.kind in ("create", "move")]
    taken = {(change.collection, change.name) for change in taking}
    leaving: dict[Path, list[Change]] = defaultdict(list)
    for change in changes:
        place = _left_by(change)
        if place in taken:
            leaving[place].append(change)
    found: dict[int, list[Change]] = {}
    for change in taking if leaving else ():
        before = [one for one in leaving.get((change.collection, change.name), ()) if _in_the_way(one, change)]
        if before:
            found[id(change)] = before
    return found


def _in_the_way(leaving: Change, taking: Change) -> bool:
    """Two streams of one name may be there as long as a tag differs, so an update stands only in the way of a stream
    that is created with the tags that it replaces."""
    if leaving.kind != "update":
        return True
    replaced = [one for one in leaving.differences if one.field in TAG_KEYS]
    tags = {one.field: one.new for one in taking.differences}
    return taking.kind == "create" and bool(replaced) and all(tags.get(one.field, "") == one.old for one in replaced)


def _left_by(change: Change) -> Path | None:
    """The place that is free once the change is made, or has other tags."""
    if change.kind in ("destroy", "update"):
        return change.collection, change.name
    if change.kind != "move":
        return None
    was = {one.field: one.old or "" for one in change.differences}
    return was.get("collection", change.collection), was.get("name", change.name)
