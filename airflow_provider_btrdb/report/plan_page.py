"""The page of a plan."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_btrdb.catalog.snapshot import Scope
from airflow_provider_btrdb.provision.plans import ACTIONS, PROBLEMS, Change, Kind, Plan
from airflow_provider_btrdb.provision.wording import difference_text, summary
from airflow_provider_btrdb.report.pages import Badge, Cell, Fact, Page, Section, Table, Tone

SHOWN = 1000
"""Rows of each section; the plan's file has all."""

_TITLES: dict[Kind, str] = {
    "create": "To create",
    "update": "To update",
    "move": "To move",
    "destroy": "To destroy",
    "hidden": "Hidden from this key",
    "ambiguous": "Ambiguous",
    "taken": "Uuid taken",
}
_TONES: dict[Kind, Tone] = {"create": "good", "update": "new", "move": "new", "destroy": "bad"}
_VERDICTS: dict[str, Tone] = {"empty": "good", "changes": "new", "destructive": "bad"}


def plan_page(plan: Plan, *, title: str = "Plan", facts: Sequence[tuple[str, str]] = ()) -> Page:
    """Problems first, then what would be destroyed, moved, changed and made; `facts` are pairs to show on top."""
    order: tuple[Kind, ...] = (*PROBLEMS, "destroy", *(kind for kind in ACTIONS if kind != "destroy"))
    sections = [_section(kind, [change for change in plan.changes if change.kind == kind]) for kind in order]
    own = [("Looked at", _places(plan.scope))]
    if plan.shard is not None:
        own.append(("Part", f"{plan.shard[0]} of {plan.shard[1]}, counted from 0"))
    return Page(
        title=title,
        summary=summary(plan),
        badges=(Badge(text=plan.verdict, tone=_VERDICTS[plan.verdict]),),
        facts=tuple(Fact(label=label, value=value) for label, value in (*facts, *own) if value),
        sections=tuple(section for section in (*sections, _unmanaged(plan)) if section is not None),
    )


def _places(scope: Scope, most: int = 20) -> str:
    places = [*(f"{prefix}*" for prefix in scope.prefixes), *scope.collections]
    return ", ".join(places[:most]) + (f" and {len(places) - most} more" if len(places) > most else "")


def _section(kind: Kind, changes: Sequence[Change]) -> Section | None:
    if not changes:
        return None
    rows = tuple(_row(change) for change in changes[:SHOWN])
    columns = ("Collection", "Name", "Differences" if kind in ACTIONS else "Why", "Uuid", "Property version")
    return Section(
        title=_TITLES[kind],
        badges=(Badge(text=str(len(changes)), tone=_TONES.get(kind, "warn")),),
        table=Table(columns=columns, rows=rows, left_out=max(0, len(changes) - SHOWN)),
    )


def _row(change: Change) -> tuple[Cell, ...]:
    details = [difference_text(one) for one in change.differences]
    said = Cell.of(change.detail, *change.rivals) if change.detail else Cell.of(*details, code=True)
    return (
        Cell.of(change.collection, code=True),
        Cell.of(change.name, code=True),
        said,
        Cell.of(change.uuid, code=True),
        Cell.of(change.property_version or ""),
    )


def _unmanaged(plan: Plan) -> Section | None:
    if not plan.unmanaged:
        return None
    rows = tuple(tuple(Cell.of(part, code=True) for part in stream) for stream in plan.unmanaged_first)
    return Section(
        title="Unmanaged",
        words=("Streams that were seen and that the specification does not have. They stay as they are.",),
        badges=(Badge(text=str(plan.unmanaged)),),
        table=Table(columns=("Collection", "Name", "Uuid"), rows=rows, left_out=plan.unmanaged - len(rows)),
    )
