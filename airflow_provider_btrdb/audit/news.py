"""What people have to be told of a run: the checks that changed since they were told of them last.

A run is compared with what was told, not with the run before: so nothing is told twice, nothing that changed while a
check was quiet is lost, and what broke and was mended in between is told to nobody. Nothing here sends anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field, ValidationError

from airflow_provider_btrdb.audit.results import CheckResult, Failure, Outcome, Result, RunResult
from airflow_provider_btrdb.audit.storing import stored_failures
from airflow_provider_btrdb.audit.wording import failure_text, total, word
from airflow_provider_btrdb.catalog.streams import printable
from airflow_provider_btrdb.client.errors import InputError

SHOWN = 5
"""New failures of each check in a message."""
BAD = ("fail", "error")
COVERAGE = ""
"""Where coverage stands among the checks, none of which has an empty name."""


class ToldCheck(Result):
    """A check as people know it."""

    at: str = ""
    """The beginning of the run that was told; RFC 3339, UTC."""
    outcome: Outcome = "pass"
    failed: int = 0
    """0 unless it failed."""
    ids: tuple[str, ...] | None = ()
    """Of the failures; None where not all are known."""


class Told(Result):
    """What people were told of an audit until now; kept between runs."""

    format: Literal[1] = 1
    checks: dict[str, ToldCheck] = Field(default_factory=dict)
    """Those that were told of; by name, coverage at ""."""


@dataclass(frozen=True, slots=True)
class AuditMessage:
    """What is to be told, as plain text without control characters. Names in it are data of others: escape them."""

    subject: str
    """One line."""
    text: str
    by_owner: Mapping[str, str] = field(default_factory=dict)
    """The part of each owner: the lines of its checks. "" has coverage, and checks without an owner."""
    path: str = ""
    """The folder of the run; "" where there is none."""


@dataclass(frozen=True, slots=True)
class _Change:
    check: str
    owner: str
    lines: tuple[str, ...]


def told_from(data: bytes | None) -> Told:
    """What a file says that `Told.model_dump_json` made; None: nothing was told. Raises InputError."""
    try:
        return Told() if data is None else Told.model_validate_json(data)
    except ValidationError as error:
        raise InputError(f"what was told is in no file of this version: {error.errors()[0]['msg']}") from None


def news(run: RunResult, place: Any, told: Told, quiet: timedelta, path: str) -> tuple[AuditMessage | None, Told]:
    """What is to be told of the run that is kept in a folder, and what was told then; no message where nothing changed.

    A check that was told of less than `quiet` before this run is left for a later one.
    """
    new, ids = _failures(place, run, told)
    now, changes = {}, []
    for name, owner, check in [(COVERAGE, "", _coverage(run)), *((one.name, one.owner, one) for one in run.checks)]:
        before = told.checks.get(name, ToldCheck())
        after = _after(check, before, run.began, ids.get(name, ()))
        said = _lines(check, before, after, new.get(name, []))
        if said and not _is_quiet(before, run.began, quiet):
            changes.append(_Change(name, owner, said))
            now[name] = after
        elif before.at:
            now[name] = before
    return _message(run, changes, path) if changes else None, Told(checks=now)


def _coverage(run: RunResult) -> CheckResult:
    """Coverage, judged as a check is."""
    coverage = run.coverage
    return CheckResult(name="coverage", kind="coverage", outcome=coverage.outcome, message=coverage.message)


def _failures(place: Any, run: RunResult, told: Told) -> tuple[dict[str, list[Failure]], dict[str, list[str]]]:
    """The first failures of each failing check that were not told, and the ids of all; one look at the file."""
    known = {check.name: set(told.checks.get(check.name, ToldCheck()).ids or ()) for check in run.checks}
    ids: dict[str, list[str]] = {check.name: [] for check in run.checks if check.outcome == "fail"}
    new: dict[str, list[Failure]] = {name: [] for name in ids}
    for row in stored_failures(place):
        name = row.pop("check")
        if name in ids:
            ids[name].append(row["id"])
            if row["id"] not in known[name] and len(new[name]) < SHOWN:
                new[name].append(Failure(**row))
    return new, ids


def _after(check: CheckResult, before: ToldCheck, began: str, ids: Any) -> ToldCheck:
    """The check as people know it once they are told of this run."""
    if check.outcome == "skipped":
        return before
    if check.outcome == "error":  # what fails is unknown: it is compared with what was known, once it can be
        return before.model_copy(update={"at": began, "outcome": "error"})
    if check.outcome != "fail":
        return ToldCheck(at=began, outcome=check.outcome)
    whole = check.stored == check.failed
    return ToldCheck(at=began, outcome="fail", failed=check.failed, ids=tuple(ids) if whole else None)


def _is_quiet(before: ToldCheck, began: str, quiet: timedelta) -> bool:
    """A clock that was set back makes nothing quiet: who knows for how long."""
    if not before.at:
        return False
    return timedelta(0) <= datetime.fromisoformat(began) - datetime.fromisoformat(before.at) < quiet


# ---------------------------------------------------------------- words


def _lines(check: CheckResult, before: ToldCheck, after: ToldCheck, new: list[Failure]) -> tuple[str, ...]:
    """What changed; nothing where nothing did."""
    if check.outcome == "skipped" or (check.outcome == "error" and before.outcome == "error"):
        return ()
    if check.outcome == "error":
        return (_line(check),)
    if check.outcome != "fail":
        resolved = max(0, before.failed - check.failed)
        return (_line(check, f" ({resolved} resolved)" if resolved else ""),) if before.outcome in BAD else ()
    appeared, gone = _counted(before, after)
    if not (appeared or gone or before.outcome == "error"):
        return ()
    first = _line(check, f" ({appeared} new, {gone} resolved)")
    shown = [f"    {_shown(check, failure)}" for failure in new[:appeared]]
    rest = appeared - len(shown)
    return (first, *shown, *([f"    ... and {rest} more"] if rest > 0 else []))


def _line(check: CheckResult, counts: str = "") -> str:
    return printable(f"{word(check.outcome)} {check.name}: {check.message}{counts}")


def _counted(before: ToldCheck, after: ToldCheck) -> tuple[int, int]:
    """New and resolved failures; where not all are known, by how many there are more or fewer."""
    if before.ids is None or after.ids is None:
        return max(0, after.failed - before.failed), max(0, before.failed - after.failed)
    told, found = set(before.ids), set(after.ids)
    return len(found - told), len(told - found)


def _shown(check: CheckResult, failure: Failure) -> str:
    """Without the values of points: a message goes where not everybody may read them."""
    return printable(failure.place) if check.how == "points" else failure_text(failure)


def _message(run: RunResult, changes: list[_Change], path: str) -> AuditMessage:
    by_owner: dict[str, list[str]] = {}
    for change in sorted(changes, key=lambda one: one.owner):
        by_owner.setdefault(change.owner, []).extend(change.lines)
    sections = {owner: "\n".join(said) for owner, said in by_owner.items()}
    shard = "" if run.shard is None else f" Shard {run.shard[0]} of {run.shard[1]}."
    parts = [f"{total(run)}{shard}"]
    parts += [f"{printable(owner)}\n{said}" if owner else said for owner, said in sections.items()]
    parts.append(f"The run is in {printable(path)}")
    return AuditMessage(subject=total(run), text="\n\n".join(parts), by_owner=sections, path=path)
