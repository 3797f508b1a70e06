"""The page of an audit's run: what it could see, what became of each check, where failures sit, and which they are.

However much fails, the page of 100 checks stays below 300 kB: long texts are cut, and checks share the room for their
failures. The run's files have everything.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from airflow_provider_btrdb.audit.results import OUTCOMES, CheckResult, Coverage, Failure, Outcome, Place, RunResult
from airflow_provider_btrdb.audit.wording import total
from airflow_provider_btrdb.report.pages import Badge, Bar, Cell, Fact, Page, Picture, Section, Table, Tone

ROOM = 100_000
"""Bytes of HTML for the failures of all checks together; each check shows one at least."""
TEXT = 160
"""Bytes of HTML for a name or a message."""
BARS, PLACES = 15, 100
"""Collections that are drawn, and listed."""

TONES: dict[Outcome, Tone] = {"error": "bad", "fail": "bad", "warn": "warn", "skipped": "plain", "pass": "good"}
_MARKUP = 40
"""Bytes of a cell without its text, about."""


def audit_page(run: RunResult, *, facts: Sequence[tuple[str, str]] = (), index: str = "") -> Page:
    """Coverage first, then the checks, the worst on top; `facts` are pairs to show on top.

    `index` is where the page of all runs is, as the path of a link.
    """
    own = [
        ("About", run.description),
        ("Suite", run.source),
        ("Server", run.endpoint),
        ("Began", run.began),
        ("Took", f"{run.seconds:g} s"),
        ("Run", run.run_id),
        ("Compared with", run.last_run_id or ""),
        ("Part", f"{run.shard[0]} of {run.shard[1]}, counted from 0" if run.shard is not None else ""),
        ("SQL", "" if run.sql else "not asked, or not served"),
    ]
    told = [Fact(label=label, value=cut(value, 2 * TEXT)) for label, value in (*facts, *own) if value]
    if index:
        told.append(Fact(label="All runs", value="overview", href=index))
    checks = sorted(enumerate(run.checks), key=lambda one: OUTCOMES.index(one[1].outcome))
    shown = [(number, check) for number, check in checks if _has_more(check)]
    failing = sum(bool(_failures(check)) for _, check in shown) or 1
    sections = [
        _coverage(run.coverage),
        _lost(run.coverage),
        _checks(checks),
        _places(run.places, run.places_left_out),
        *(_check(number, check, ROOM // failing) for number, check in shown),
    ]
    return Page(
        title=f"Audit {cut(run.suite)}",
        summary=total(run) if len(run.suite) <= TEXT else f"Audit: {run.outcome}.",
        badges=(outcome_badge(run.outcome),),
        facts=tuple(told),
        sections=tuple(section for section in sections if section is not None),
    )


def outcome_badge(outcome: Outcome) -> Badge:
    """An outcome as a badge."""
    return Badge(text=outcome, tone=TONES[outcome])


def cut(text: str, most: int = TEXT) -> str:
    """The text, without its end where it would take more bytes of HTML than `most`."""
    weight = 0
    for at, character in enumerate(text):
        weight += _weight(character)
        if weight > most:
            return f"{text[:at]}\N{HORIZONTAL ELLIPSIS}"
    return text


def _weight(text: str) -> int:
    return len(escape(text).encode(errors="replace"))


# ---------------------------------------------------------------- coverage


def _coverage(coverage: Coverage) -> Section:
    seen = (
        ("Collections", coverage.collections, coverage.before_collections, coverage.expected_collections),
        ("Streams", coverage.streams, coverage.before_streams, coverage.expected_streams),
    )
    rows = tuple(
        (
            Cell.of(what),
            Cell.of(
                now, tone="bad" if coverage.outcome == "error" and now < max(before or 0, expected or 0) else "plain"
            ),
            Cell.of("" if before is None else before),
            Cell.of("" if expected is None else expected),
        )
        for what, now, before, expected in seen
    )
    return Section(
        title="Coverage",
        badges=(outcome_badge(coverage.outcome),),
        words=(f"{cut(coverage.message, 2 * TEXT)}.",),
        table=Table(columns=("What", "Seen", "Compared with", "At least expected"), rows=rows),
    )


def _lost(coverage: Coverage) -> Section | None:
    if not coverage.lost_count:
        return None
    return Section(
        title="Collections that are seen no more",
        badges=(Badge(text=str(coverage.lost_count), tone="bad" if coverage.outcome == "error" else "warn"),),
        table=Table(
            columns=("Collection",),
            rows=tuple((Cell.of(cut(name), code=True),) for name in coverage.lost),
            left_out=coverage.lost_count - len(coverage.lost),
        ),
    )


# ---------------------------------------------------------------- all checks


def _checks(checks: Sequence[tuple[int, CheckResult]]) -> Section:
    counts = {outcome: sum(check.outcome == outcome for _, check in checks) for outcome in OUTCOMES}
    columns = ("Check", "Outcome", "Failed", "Of", "Percent", "New", "Still", "Fixed", "Fails if", "Warns if", "Owner")
    return Section(
        title="Checks",
        badges=tuple(
            Badge(text=f"{count} {outcome}", tone=TONES[outcome]) for outcome, count in counts.items() if count
        ),
        table=Table(columns=columns, rows=tuple(_check_row(number, check) for number, check in checks)),
    )


def _check_row(number: int, check: CheckResult) -> tuple[Cell, ...]:
    changed, tone = check.comparison, TONES[check.outcome]
    ran = check.outcome not in ("error", "skipped")
    return (
        Cell.of(cut(check.name), href=_link(number) if _has_more(check) else ""),
        Cell.of(check.outcome, tone=tone),
        Cell.of(check.failed if ran or check.failed else "", tone=tone if check.failed else "plain"),
        Cell.of("" if check.checked is None else f"{check.checked} {check.unit}"),
        Cell.of("" if not ran or check.percent is None else percent_text(check)),
        Cell.of("" if changed is None else changed.new, tone="bad" if changed and changed.new else "plain"),
        Cell.of("" if changed is None else changed.still),
        Cell.of("" if changed is None else changed.fixed, tone="good" if changed and changed.fixed else "plain"),
        Cell.of(check.error_if),
        Cell.of(check.warn_if if check.warn_if != check.error_if else ""),
        Cell.of(cut(check.owner)),
    )


def percent_text(check: CheckResult) -> str:
    """`0.46%`; never 0% where something fails, and never 100% where not all does."""
    assert check.percent is not None
    text = f"{check.percent:.2f}"
    if text == "0.00" and check.failed:
        return "< 0.01%"
    return "> 99.99%" if text == "100.00" and check.failed != check.checked else f"{text}%"


# ---------------------------------------------------------------- where failures sit


def _places(places: Sequence[Place], left_out: int) -> Section | None:
    if not places:
        return None
    drawn = places[:BARS]
    bars = tuple(Bar(label=cut(place.collection), parts=((place.failures, "bad"),)) for place in drawn)
    rows = tuple(
        (Cell.of(cut(place.collection), code=True), Cell.of(place.failures), Cell.of(place.streams))
        for place in places[:PLACES]
    )
    count = len(places) + left_out
    which = "Each bar is a collection" if len(drawn) == count else f"The worst {len(drawn)} collections"
    return Section(
        title="Where failures sit",
        badges=(Badge(text=f"{count} collections"),),
        picture=Picture(
            label=f"{which}, as long as the number of its failures in all checks; the table has the numbers.", bars=bars
        ),
        table=Table(columns=("Collection", "Failures", "Streams"), rows=rows, left_out=count - len(rows)),
    )


# ---------------------------------------------------------------- one check


def _link(number: int) -> str:
    return f"#check-{number}"


def _failures(check: CheckResult) -> tuple[Failure, ...]:
    return (*check.sample, *(check.comparison.fixed_sample if check.comparison is not None else ()))


def _has_more(check: CheckResult) -> bool:
    """Is there more to say than fits a row?"""
    return check.outcome != "pass" or bool(_failures(check))


def _check(number: int, check: CheckResult, room: int) -> Section:
    said = [check.description, f"{check.message}.", f"Owner: {check.owner}." if check.owner else ""]
    return Section(
        title=cut(check.name),
        badges=(outcome_badge(check.outcome),),
        words=tuple(cut(words) for words in said if words),
        table=_failure_table(check, room),
        anchor=_link(number).removeprefix("#"),
    )


def _failure_table(check: CheckResult, room: int) -> Table | None:
    """As many failures as there is room for, with the columns that say something."""
    rows: list[dict[str, Cell]] = []
    used = 0
    changes = _changes(check)
    for failure in _failures(check):
        row = _failure_row(failure, changes.get(failure.id, ""))
        used += sum(_MARKUP + sum(map(_weight, cell.lines)) for cell in row.values())
        if rows and used > room:
            break
        rows.append(row)
    if not rows:
        return None
    columns = [name for name in rows[0] if any(any(row[name].lines) for row in rows)]
    fixed = check.comparison.fixed if check.comparison is not None else 0
    return Table(
        columns=tuple(columns),
        rows=tuple(tuple(row[name] for name in columns) for row in rows),
        left_out=check.failed + fixed - len(rows),
    )


def _changes(check: CheckResult) -> dict[str, str]:
    """Of each failure that is shown: new, still or fixed; nothing where that is not known."""
    changed = check.comparison
    if changed is None:
        return {}
    still = {failure.id: "still" for failure in check.sample}
    new = {failure.id: "new" for failure in changed.new_sample}
    return still | new | {failure.id: "fixed" for failure in changed.fixed_sample}


def _failure_row(failure: Failure, change: str) -> dict[str, Cell]:
    tones: dict[str, Tone] = {"new": "bad", "fixed": "good"}
    uuids = failure.uuids or ((failure.uuid,) if failure.uuid else ())
    return {
        "Collection": Cell.of(cut(failure.collection), code=True),
        "Name": Cell.of(cut(failure.name), code=True),
        "What": Cell.of(cut(failure.message), tone="warn" if failure.severity == "warn" else "plain"),
        "Since the last run": Cell.of(change, tone=tones.get(change, "plain")),
        "Uuid": Cell.of(*uuids[:3], *(["..."] if len(uuids) > 3 else []), code=True),
    }
