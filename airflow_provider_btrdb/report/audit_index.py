"""The page over the runs of a folder, and the pages as files beside them.

A folder is what `audit.storing` takes: a path of pathlib, or one of object storage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import quote

from airflow_provider_btrdb.audit.files import write_whole
from airflow_provider_btrdb.audit.results import OUTCOMES, Outcome, RunResult
from airflow_provider_btrdb.audit.storing import RUN, load, runs
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.report.audit_page import TONES, audit_page, cut, outcome_badge
from airflow_provider_btrdb.report.html import page_html
from airflow_provider_btrdb.report.pages import Bar, Cell, Page, Picture, Section, Table

REPORT, INDEX = "report.html", "index.html"
MOST_RUNS = 200
"""Of a folder, the newest; each is a file to read."""
DRAWN = 60
"""Runs in a picture."""


@dataclass(frozen=True, slots=True)
class KeptRun:
    """A run of a folder."""

    link: str
    """From the page of all runs to what there is of it, as a path of a link."""
    result: RunResult


def store_pages(folder: Any, result: RunResult) -> Any:
    """Write `report.html` into the folder of a stored run, and `index.html` beside it; returns the path of the index.

    The index reads the newest 200 runs again. Runs that this version cannot read are named there and left alone.
    """
    _write(folder / result.run_id / REPORT, run_page(result))
    read = partial(load, failures=False)
    _write(folder / INDEX, index_page(folder, page_of=_stored_page, read=read))
    return folder / INDEX


def _write(path: Any, page: Page) -> None:
    write_whole(path, page_html(page).encode())


def _stored_page(place: Any) -> str:
    return REPORT if (place / REPORT).exists() else RUN


def run_page(result: RunResult) -> Page:
    """The page of a run that is kept, with a link to that of all runs."""
    return audit_page(result, index=f"../{INDEX}")


def index_page(
    folder: Any,
    *,
    page_of: Callable[[Any], str],
    read: Callable[[Any], RunResult],
) -> Page:
    """The page over the newest 200 runs of a folder.

    `page_of` names the file that stands for a run, in its folder; `read` gives the result, or raises InputError.
    """
    kept, unreadable = [], []
    places = list(islice(runs(folder), MOST_RUNS + 1))
    for place in places[:MOST_RUNS]:
        try:
            kept.append(KeptRun(f"{quote(str(place.name))}/{page_of(place)}", read(place)))
        except InputError:
            unreadable.append(str(place.name))
        except FileNotFoundError:  # somebody removes old runs just now
            continue
    return audits_page(kept, more=len(places) > MOST_RUNS, unreadable=unreadable)


def audits_page(kept: Sequence[KeptRun], *, more: bool = False, unreadable: Sequence[str] = ()) -> Page:
    """The runs of each suite, and of each shard of it, the newest first.

    `kept` are the runs, the newest first; `more` says that there are older ones; `unreadable` are the names of folders.
    """
    groups: dict[tuple[str, tuple[int, int] | None], list[KeptRun]] = {}
    for one in kept:
        groups.setdefault((one.result.suite, one.result.shard), []).append(one)
    older = ", and older ones that are not shown" if more else ""
    sections = [_suite(suite, shard, several) for (suite, shard), several in groups.items()]
    if unreadable:
        rows = tuple((Cell.of(cut(name), code=True),) for name in unreadable)
        words = ("Their run.json is not of this version.",)
        sections.append(Section(title="Not readable", words=words, table=Table(columns=("Folder",), rows=rows)))
    return Page(title="Audits", summary=f"{len(kept)} runs{older}.", sections=tuple(sections))


def _suite(suite: str, shard: tuple[int, int] | None, kept: Sequence[KeptRun]) -> Section:
    part = "" if shard is None else f", shard {shard[0]} of {shard[1]}"
    columns = (
        "Began",
        "Outcome",
        "Failures",
        *(outcome.capitalize() for outcome in OUTCOMES),
        "Collections",
        "Streams",
    )
    return Section(
        title=f"{cut(suite)}{part}",
        badges=(outcome_badge(kept[0].result.outcome),),
        picture=_trend(kept[:DRAWN]) if len(kept) > 1 else None,
        table=Table(columns=columns, rows=tuple(_row(one) for one in kept)),
    )


def _trend(kept: Sequence[KeptRun]) -> Picture:
    bars = []
    for one in reversed(kept):
        run = one.result
        failed, hard = sum(check.failed for check in run.checks), sum(check.hard for check in run.checks)
        label = f"{run.began}: {run.outcome}, {failed} failures"
        bars.append(Bar(label=label, parts=((hard, "bad"), (failed - hard, "warn")), tone=TONES[run.outcome]))
    most = max(sum(count for count, _ in bar.parts) for bar in bars)
    label = (
        f"The failures of the last {len(bars)} runs, {most} at most, the newest on the right. Those that only warn are "
        "on top; the foot of each has the colour of the outcome."
    )
    return Picture(label=label, bars=tuple(bars), upright=True)


def _row(one: KeptRun) -> tuple[Cell, ...]:
    run = one.result
    failures, counts = sum(check.failed for check in run.checks), run.counts
    lost = run.coverage.outcome == "error"

    def counted(outcome: Outcome) -> Cell:
        return Cell.of(counts[outcome], tone=TONES[outcome] if counts[outcome] else "plain")

    return (
        Cell.of(run.began, href=one.link),
        Cell.of(run.outcome, tone=TONES[run.outcome]),
        Cell.of(failures),
        *map(counted, OUTCOMES),
        Cell.of(run.coverage.collections, tone="bad" if lost else "plain"),
        Cell.of(run.coverage.streams, tone="bad" if lost else "plain"),
    )
