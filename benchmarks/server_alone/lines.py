"""What is measured, how far it is meant to reach, and the table that is made of the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sampling.prose import Samples, head, reasons, row, spread, too_few

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    case: str
    what: str
    size: int
    """Items of one sample; each of them is compared by value."""
    shown: Literal["per second", "millions per second", "s", "ms", "MB"]
    limit: float | None = None
    """In the unit shown: at least so many per second, less than so many of the others; None is no goal."""

    def value(self, sample: Mapping[str, Any]) -> float:
        """What a sample says, in the unit shown."""
        if self.shown == "MB":
            return float(sample["mb"])
        seconds = float(sample["wall"])
        if self.shown == "per second":
            return self.size / seconds
        if self.shown == "millions per second":
            return self.size / seconds / _MILLION
        return seconds * (1000 if self.shown == "ms" else 1)

    def reaches(self, value: float) -> bool:
        """Whether a value is as good as it is meant to be."""
        if self.limit is None:
            return True
        return value >= self.limit if self.shown.endswith("per second") else value < self.limit


LINES: tuple[Line, ...] = (
    Line("create-1", "creates, one in flight", 1_000, "per second"),
    Line("create-64", "creates, 64 in flight", 10_000, "per second", 3_000),
    Line("lookup", "lookup of 100,000 streams of 1,000,000", 100_000, "s", 2),
    Line("sql-exact", "SQL over 1,000,000 streams: one by collection and name", 20, "ms", 10),
    Line("sql-grouped", "SQL over 1,000,000 streams: counted by collection", 1_000, "s", 1),
    Line("arrow-insert", "points inserted as Arrow", _MILLION, "millions per second", 2),
    Line("arrow-read", "points read as Arrow", _MILLION, "millions per second", 5),
    Line("head-read", "read of 300,000 points that came in 10,000 inserts", 300_000, "ms", 50),
    Line("start-cold", "from exec to the ready line, new data directory", 1, "s", 5),
    Line("start-warm", "from exec to the ready line, after SIGTERM", 1, "s", 2),
    Line("start-killed", "from exec to the ready line, after kill -9 and 2,000 creates", 2_000, "s", 2),
    Line("memory", "memory of all processes, idle", 1, "MB", 220),
)

CAUSES: dict[str, str] = {}
"""Why a line misses its goal, by case. A miss without a cause does not pass the checker."""


def faults(samples: Samples) -> list[str]:
    """Reasons why these samples do not make a table; none if they do."""
    found = []
    for line in LINES:
        taken = samples.get(line.case, ())
        if missing := too_few(line.case, taken):
            found.append(missing)
        elif any(sample["compared"] != line.size for sample in taken):
            found.append(f"{line.case}: not everything was compared")
        elif not line.reaches(median(map(line.value, taken))) and line.case not in CAUSES:
            found.append(f"{line.case}: misses its goal and CAUSES names no cause")
    return found


def as_text(samples: Samples) -> str:
    """Lines for a terminal."""
    return "\n".join(
        f"{line.case:13} {line.what:62} {_number(middle):>8} {line.shown:20} {_goal(line):22} {_verdict(line, middle)}"
        for line in LINES
        if line.case in samples
        for middle in [median(map(line.value, samples[line.case]))]
    )


def as_markdown(results: Mapping[str, Any]) -> str:
    """The part of docs/benchmarks-devserver.md that is made of the file of samples."""
    samples = results["samples"]
    goals = [line for line in LINES if line.limit is not None]
    missed = [line for line in goals if not line.reaches(median(map(line.value, samples[line.case])))]
    text = [
        head(results, len(goals), len(missed)),
        "",
        "| what | median (least to most) | goal | |",
        "|---|---|---|---|",
    ]
    for line in LINES:
        values = [line.value(sample) for sample in samples[line.case]]
        shown = spread(values, line.shown, _number)
        text.append(row((line.what, shown, _goal(line), _verdict(line, median(values)))))
    return "\n".join(text + reasons("Why goals are missed:", {line.what: CAUSES[line.case] for line in missed}))


def _goal(line: Line) -> str:
    if line.limit is None:
        return ""
    sign = ">=" if line.shown.endswith("per second") else "<"
    return f"{sign} {line.limit:,.0f} {line.shown}"


def _verdict(line: Line, value: float) -> str:
    if line.limit is None:
        return ""
    return "met" if line.reaches(value) else "MISSED"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
