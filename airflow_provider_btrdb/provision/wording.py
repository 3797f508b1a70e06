"""Plans and results as lines for a terminal and a log."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_btrdb.catalog.streams import printable
from airflow_provider_btrdb.provision.plans import PROBLEMS, Change, Difference, Plan
from airflow_provider_btrdb.provision.results import Applied

MOST_CHARACTERS = 200
"""Of a value; an annotation may have millions, and the plan's file has all of them."""
BEFORE = 20
"""So many characters that stay are shown before the first that changes."""

SIGNS = {"create": "+", "update": "~", "move": "~", "destroy": "-"}
"""Of a change that can be made; all others are problems: `!`."""


def plan_text(plan: Plan, *, most: int | None = None) -> str:
    """One line for each change and each difference, and the total; with `most` only so many changes."""
    shown = plan.changes if most is None else plan.changes[:most]
    lines = [line for change in shown for line in _lines(change)]
    if len(shown) < len(plan.changes):
        lines.append(f"  ... and {len(plan.changes) - len(shown)} more changes")
    return "\n".join([*lines, summary(plan)])


def summary(plan: Plan) -> str:
    """The total in one line: `Plan: 3 to create, 1 to update, 12 unchanged.`"""
    counts = plan.counts
    verbs = ("create", "update", "move", "destroy")
    parts = [f"{counts[kind]} to {kind}" for kind in verbs if counts[kind]]
    parts += [f"{counts[kind]} {kind}" for kind in PROBLEMS if counts[kind]]
    if not parts:
        parts = ["nothing to do"]
    parts.append(f"{plan.unchanged} unchanged")
    if plan.unmanaged:
        parts.append(f"{plan.unmanaged} unmanaged")
    return f"Plan: {', '.join(parts)}."


def applied_text(applied: Applied, *, most: int = 20) -> str:
    """The total in one line, and what is not as it should be below it."""
    parts = [f"{count} {outcome}" for outcome, count in applied.counts.items() if count]
    lines = [f"Applied: {', '.join(parts) or 'nothing to do'}{', verified' if applied.verified else ''}."]
    lines += [printable(f"! {one.collection}/{one.name}: {one.outcome}: {one.detail}") for one in applied.bad[:most]]
    if len(applied.bad) > most:
        lines.append(f"  ... and {len(applied.bad) - most} more")
    return "\n".join(lines)


def difference_text(difference: Difference) -> str:
    """`unit: 'volts' -> 'amps'`"""
    field, operation, old, new = difference
    if operation == "add":
        return f"+ {field}: {value_text(new)}"
    if operation == "remove":
        return f"- {field}: {value_text(old)}"
    start = 0
    if max(len(old or ""), len(new or "")) > MOST_CHARACTERS:
        pairs = enumerate(zip(old or "", new or "", strict=False))
        first = next((place for place, (before, after) in pairs if before != after), 0)
        start = max(0, first - BEFORE)
    return f"~ {field}: {value_text(old, start)} -> {value_text(new, start)}"


def value_text(value: str | None, start: int = 0) -> str:
    """Quoted, and null without quotes; of a long one only a part, from a character on."""
    if value is None:
        return "null"
    if not start and len(value) <= MOST_CHARACTERS:
        return repr(value)
    part = value[start : start + MOST_CHARACTERS]
    return f"{'...' * bool(start)}{part!r}{'...' * (start + len(part) < len(value))} ({len(value)} characters)"


def _lines(change: Change) -> Iterator[str]:
    # A blank at an end, as tables often have them, would look like nothing.
    blank = any(part != part.strip() for part in (change.collection, change.name))
    path = repr(change.path) if blank else change.path
    yield printable(f"{SIGNS.get(change.kind, '!')} {path} ({_what(change)})")
    for difference in change.differences:
        yield printable(f"    {difference_text(difference)}")


def _what(change: Change) -> str:
    if change.kind in PROBLEMS:
        return f"{change.kind}: {change.detail}"
    if change.kind == "create":
        return f"create, uuid {change.uuid}"
    return f"{change.kind}, uuid {change.uuid}, property version {change.property_version}"
