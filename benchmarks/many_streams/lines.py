"""What is measured, how far it is meant to reach, and the table that is made of the samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sampling.prose import Samples, markdown_of, spread, text_of, too_few, unexplained

from many_streams.cases import LOOP_STREAMS
from many_streams.catalogue import STREAMS

_SCALE = STREAMS / LOOP_STREAMS


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table."""

    what: str
    ours: tuple[str, ...]
    """Cases; what they cost is added up."""
    measure: Literal["wall", "cpu", "mb"]
    loop: str | None = None
    """A case of the loop that stands beside it, counted for as many streams."""
    limit: float | None = None
    """At most so much; with `loop` at most this part of it."""

    def mine(self, samples: Samples) -> list[float]:
        """One value for each run."""
        return [sum(parts) for parts in zip(*(self._of(samples, case) for case in self.ours), strict=True)]

    def theirs(self, samples: Samples) -> list[float]:
        """The same of the loop."""
        assert self.loop is not None
        return [value * _SCALE for value in self._of(samples, self.loop)]

    @property
    def name(self) -> str:
        """What it is, and its measure."""
        return f"{self.what} ({self.measure})"

    def is_good(self, samples: Samples) -> bool:
        """Is the goal met, if there is one?"""
        return self.limit is None or self.reached(samples) <= self.limit

    def cells(self, samples: Samples) -> tuple[str, ...]:
        """What stands in the table."""
        unit = _UNITS[self.measure]
        loop = spread(self.theirs(samples), unit, _number) if self.loop is not None else ""
        ratio = f"{self.reached(samples):.3f}x" if self.loop is not None else ""
        goal = "" if self.limit is None else f"<= {self.limit:g}{'x' if self.loop is not None else f' {unit}'}"
        verdict = "" if self.limit is None else "met" if self.is_good(samples) else "MISSED"
        return self.what, spread(self.mine(samples), unit, _number), loop, ratio, goal, verdict

    def reached(self, samples: Samples) -> float:
        """What the limit is about."""
        mine = median(self.mine(samples))
        return mine / median(self.theirs(samples)) if self.loop is not None else mine

    def _of(self, samples: Samples, case: str) -> list[float]:
        return [float(sample[self.measure]) for sample in samples[case]]


LINES: tuple[Line, ...] = (
    Line("all missing: planned, made and verified", ("plan-create", "apply"), "wall", "loop-create", 1 / 4),
    Line("all missing: planned, made and verified", ("plan-create", "apply"), "cpu", "loop-create", 0.3),
    Line("all there: planned", ("plan-unchanged",), "wall", "loop-unchanged"),
    Line("all there: planned", ("plan-unchanged",), "cpu", "loop-unchanged"),
    Line("all there: planned, from CSV", ("plan-unchanged",), "wall", None, 5),
    Line("all missing: planned, specification included", ("plan-create",), "mb", None, 200),
    Line("all there: planned, specification included", ("plan-unchanged",), "mb", None, 200),
    Line("all missing: planned", ("plan-create",), "wall"),
    Line("made from the plan's file and verified", ("apply",), "wall"),
    Line("made from the plan's file and verified", ("apply",), "mb"),
    Line("specification read, CSV", ("read-csv",), "wall"),
    Line("specification read, YAML of ten lines", ("read-short-yaml",), "wall"),
    Line("specification read, YAML with every stream written out", ("read-yaml",), "wall"),
    Line("specification read, YAML with every stream written out", ("read-yaml",), "mb"),
)

CAUSES: dict[str, str] = {}
"""Why a line misses its goal, by what it is and its measure. A miss without a cause does not pass the checker."""

_CALLS = {
    "plan-create": "all missing: planned",
    "apply": "made and verified",
    "plan-unchanged": "all there: planned",
    "loop-create": f"the loop, {LOOP_STREAMS:,} streams missing",
    "loop-unchanged": f"the loop, {LOOP_STREAMS:,} streams there",
}

_UNITS = {"wall": "s", "cpu": "s CPU", "mb": "MB"}


def faults(samples: Samples) -> list[str]:
    """Reasons why these samples do not make a table; none if they do."""
    found = []
    for case in sorted({case for line in LINES for case in (*line.ours, line.loop) if case is not None}):
        taken = samples.get(case, ())
        if missing := too_few(case, taken):
            found.append(missing)
        elif any(sample["compared"] != _size(case) for sample in taken):
            found.append(f"{case}: not everything was compared")
    return found or unexplained(LINES, samples, CAUSES)


def as_text(samples: Samples) -> str:
    """Lines for a terminal."""
    return text_of(LINES, samples, (58, 32, 36, 9, 10, 6))


def as_markdown(results: Mapping[str, Any]) -> str:
    """The part of docs/benchmarks-provision.md that is made of the file of samples."""
    calls = (f"| {what} | {_calls(results['samples'][case])} |" for case, what in _CALLS.items())
    columns = "| 100,000 streams | ours | the loop | ours / loop | goal | |"
    return markdown_of(LINES, results, columns, CAUSES, "", "| calls | |", "|---|---|", *calls)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _calls(taken: Sequence[Mapping[str, Any]]) -> str:
    """Of the run that needed the most."""
    most = max((Counter(sample["calls"]) for sample in taken), key=Counter.total)
    return ", ".join(f"{count:,} {method}" for method, count in sorted(most.items()))


def _size(case: str) -> int:
    return LOOP_STREAMS if case.startswith("loop") else STREAMS
