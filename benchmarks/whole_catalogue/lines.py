"""What is measured, how far it is meant to reach, and the table that is made of the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sampling.prose import Samples, head, reasons, row, spread, too_few

from whole_catalogue.cases import SHARDS

SMALL, LARGE = 100_000, 1_000_000
SIZES = (SMALL, LARGE)
CAP = 64
"""Calls under way at once, as the connection has it by default."""
LINEAR = 1.25
"""A large catalogue takes at most so many times the time of its parts."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of sample."""

    work: str
    streams: int
    sql: Literal["on", "off"]

    @property
    def name(self) -> str:
        """As the file of samples has it."""
        return f"{self.work} {self.streams}"


CASES = (
    *(Case(work, streams, sql) for streams in SIZES for work, sql in (("sql", "on"), ("listing", "off"))),
    Case("fresh", SMALL, "on"),
    Case(f"fresh {SHARDS - 1}", SMALL, "on"),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    what: str
    value: Callable[[Samples], list[float]]
    unit: str
    limit: float | None = None
    """At most so much."""


def _of(case: str, measure: str) -> Callable[[Samples], list[float]]:
    return lambda samples: [float(sample[measure]) for sample in samples[case]]


def _calls(case: str) -> Callable[[Samples], list[float]]:
    return lambda samples: [float(sum(sample["calls"].values())) for sample in samples[case]]


def _ratio(work: str) -> Callable[[Samples], list[float]]:
    small, large = f"{work} {SMALL}", f"{work} {LARGE}"

    def value(samples: Samples) -> list[float]:
        parts = median(sample["wall"] for sample in samples[small]) * LARGE / SMALL
        return [sample["wall"] / parts for sample in samples[large]]

    return value


_FRESH, _SHARD = f"fresh {SMALL}", f"fresh {SHARDS - 1} {SMALL}"
LINES: tuple[Line, ...] = (
    *(
        line
        for work, how in (("listing", "without SQL"), ("sql", "with SQL"))
        for line in (
            Line(f"ten checks of {LARGE:,} streams, {how}", _of(f"{work} {LARGE}", "wall"), "s", 60),
            Line(f"ten checks of {LARGE:,} streams, {how}", _of(f"{work} {LARGE}", "cpu"), "s CPU"),
            Line(f"ten checks of {LARGE:,} streams, {how}", _of(f"{work} {LARGE}", "mb"), "MB", 300),
            Line(f"ten checks of {LARGE:,} streams, {how}", _calls(f"{work} {LARGE}"), "calls"),
            Line(f"ten checks of {SMALL:,} streams, {how}", _of(f"{work} {SMALL}", "wall"), "s"),
            Line(f"ten checks of {SMALL:,} streams, {how}", _of(f"{work} {SMALL}", "mb"), "MB"),
            Line(f"{LARGE:,} streams beside ten times {SMALL:,}, {how}", _ratio(work), "times", LINEAR),
        )
    ),
    Line(f"`fresh` of {SMALL:,} streams", _of(_FRESH, "wall"), "s"),
    Line(f"`fresh` of {SMALL:,} streams", _of(_FRESH, "cpu"), "s CPU"),
    Line(f"`fresh` of {SMALL:,} streams", _of(_FRESH, "mb"), "MB", 300),
    Line(f"`fresh` of {SMALL:,} streams", _calls(_FRESH), "calls", SMALL + 10),
    Line(f"`fresh` of {SMALL:,} streams, under way at once", _of(_FRESH, "at_once"), "calls", CAP),
    Line(f"`fresh` of {SMALL:,} streams, the last of {SHARDS} shards made again", _of(_SHARD, "wall"), "s"),
    Line(
        f"`fresh` of {SMALL:,} streams, the last of {SHARDS} shards made again",
        _calls(_SHARD),
        "calls",
        SMALL / SHARDS * 1.5,
    ),
)

CAUSES: dict[str, str] = {}
"""Why a line misses its goal, by what it is and its unit. A miss without a cause does not pass the checker."""


def faults(samples: Samples) -> list[str]:
    """Reasons why these samples do not make a table; none if they do."""
    found = []
    for case in CASES:
        taken = samples.get(case.name, ())
        if missing := too_few(case.name, taken):
            found.append(missing)
        elif not all(_whole(case, sample) for sample in taken):
            found.append(f"{case.name}: not everything was compared")
    if not found:
        found = [
            f"{_name(line)}: misses its goal and CAUSES names no cause"
            for line in LINES
            if not _good(line, samples) and _name(line) not in CAUSES
        ]
    return found


def as_text(samples: Samples) -> str:
    """Lines for a terminal."""
    widths = (66, 40, 16, 6)
    rows = [zip(_cells(line, samples), widths, strict=True) for line in LINES]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in row) for row in rows)


def as_markdown(results: Mapping[str, Any]) -> str:
    """The part of docs/benchmarks-audit.md that is made of the file of samples."""
    samples = results["samples"]
    goals = [line for line in LINES if line.limit is not None]
    missed = [line for line in goals if not _good(line, samples)]
    text = [
        head(results, len(goals), len(missed)),
        "",
        "| what | median (least to most) | goal | |",
        "|---|---|---|---|",
        *(row(_cells(line, samples)) for line in LINES),
    ]
    causes = {_name(line): CAUSES[_name(line)] for line in missed}
    return "\n".join(text + reasons("Why goals are missed:", causes))


def _whole(case: Case, sample: Mapping[str, Any]) -> bool:
    """A shard has its part of the collections, which is no exact quarter."""
    if case.work.startswith("fresh "):
        return 0 < sample["compared"] < case.streams and sample["calls"]["Nearest"] == sample["compared"]
    return bool(sample["compared"] == case.streams)


def _cells(line: Line, samples: Samples) -> tuple[str, str, str, str]:
    goal = "" if line.limit is None else f"<= {_number(line.limit)} {line.unit}"
    verdict = "" if line.limit is None else "met" if _good(line, samples) else "MISSED"
    return line.what, spread(line.value(samples), line.unit, _number), goal, verdict


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _good(line: Line, samples: Samples) -> bool:
    return line.limit is None or median(line.value(samples)) <= line.limit


def _name(line: Line) -> str:
    return f"{line.what} ({line.unit})"
