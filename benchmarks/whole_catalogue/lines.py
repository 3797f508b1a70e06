"""What is measured, how far it is meant to reach, and the table that is made of the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sampling.prose import Samples, markdown_of, spread, text_of, too_few, unexplained

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

    @property
    def name(self) -> str:
        """What it is, and its unit."""
        return f"{self.what} ({self.unit})"

    def is_good(self, samples: Samples) -> bool:
        """Is the goal met, if there is one?"""
        return self.limit is None or median(self.value(samples)) <= self.limit

    def cells(self, samples: Samples) -> tuple[str, ...]:
        """What stands in the table."""
        goal = "" if self.limit is None else f"<= {_number(self.limit)} {self.unit}"
        verdict = "" if self.limit is None else "met" if self.is_good(samples) else "MISSED"
        return self.what, spread(self.value(samples), self.unit, _number), goal, verdict


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
    return found or unexplained(LINES, samples, CAUSES)


def as_text(samples: Samples) -> str:
    """Lines for a terminal."""
    return text_of(LINES, samples, (66, 40, 16, 6))


def as_markdown(results: Mapping[str, Any]) -> str:
    """The part of docs/benchmarks-audit.md that is made of the file of samples."""
    return markdown_of(LINES, results, "| what | median (least to most) | goal | |", CAUSES)


def _whole(case: Case, sample: Mapping[str, Any]) -> bool:
    """A shard has its part of the collections, which is no exact quarter."""
    if case.work.startswith("fresh "):
        return 0 < sample["compared"] < case.streams and sample["calls"]["Nearest"] == sample["compared"]
    return bool(sample["compared"] == case.streams)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"
