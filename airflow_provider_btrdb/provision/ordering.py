"""Which changes have to wait for which: a place must be left before another stream can take it. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from uuid import UUID

from airflow_provider_btrdb.protocol import TAG_KEYS
from airflow_provider_btrdb.provision.plans import ACTIONS, Change
from airflow_provider_btrdb.provision.specs import Path

CIRCLE = "streams change places in a circle, so none can be the first: move one of them out of the way"
MET = "stream {} is or would be there with the same tags, which no server takes: change a tag of one of them"
WAITS = "another stream has to leave this place first, and cannot"

Blockers = Mapping[int, Sequence[Change]]
"""By the `id` of a change: the changes that it waits for. Most wait for none and are not there."""


def ordered(changes: Iterable[Change]) -> tuple[list[Change], Blockers]:
    """All changes that can be made, each after those that it waits for; otherwise moves first and destroys last.

    What waits for itself, by way of others, is left out: see `stuck`.
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


def stuck(changes: Iterable[Change], met: Mapping[int, UUID]) -> dict[int, str]:
    """By the `id` of a change: why it can never be made. `met` are streams that it would meet with the same tags."""
    able = [one for one in changes if one.kind in ACTIONS]
    order, blockers = ordered(able)
    reasons = {number: MET.format(uuid) for number, uuid in met.items()}
    if blockers:
        in_order = {id(one) for one in order}
        reasons |= {id(one): CIRCLE for one in able if id(one) not in in_order}
        for one in order:
            if id(one) not in reasons and any(id(other) in reasons for other in blockers.get(id(one), ())):
                reasons[id(one)] = WAITS
    return reasons


def _blockers(changes: Sequence[Change]) -> dict[int, list[Change]]:
    taken = {(change.collection, change.name) for change in changes if change.kind in ("create", "move")}
    leaving: dict[Path, list[Change]] = defaultdict(list)
    updated: dict[Path, list[Change]] = defaultdict(list)
    for change in changes:
        if change.kind == "update" and (place := (change.collection, change.name)) in taken:
            updated[place].append(change)
        elif left := _left_by(change):
            leaving[left].append(change)
    found: dict[int, list[Change]] = {}
    for change in changes if leaving or updated else ():
        place = change.collection, change.name
        before = leaving.get(place, [])
        if change.kind == "update":
            # For what is destroyed and nothing else: too much waiting makes circles.
            before = [one for one in before if one.kind == "destroy"] if before and _replaced_tags(change) else []
        elif change.kind == "destroy":
            before = []
        elif place in updated:
            before = [*before, *(one for one in updated[place] if _gives_way(one, change))]
        if before:
            found[id(change)] = before
    return found


def _gives_way(update: Change, taking: Change) -> bool:
    """Two streams of one name may be there as long as a tag differs, so an update stands only in the way of a stream
    that has, or may have, the tags that it replaces."""
    replaced = _replaced_tags(update)
    tags = dict.fromkeys(replaced, "") if taking.kind == "create" else dict(replaced)
    tags |= {one.field: one.new or "" for one in taking.differences if one.field in replaced}
    return bool(replaced) and tags == replaced


def _replaced_tags(update: Change) -> dict[str, str | None]:
    return {one.field: one.old for one in update.differences if one.field in TAG_KEYS}


def _left_by(change: Change) -> Path | None:
    """The place that is free once the change is made."""
    if change.kind == "destroy":
        return change.collection, change.name
    if change.kind != "move":
        return None
    was = {one.field: one.old or "" for one in change.differences}
    return was.get("collection", change.collection), was.get("name", change.name)
