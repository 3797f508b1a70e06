"""What every document of a benchmark says in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any, Protocol

Samples = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was measured, by case."""
FEWEST_RUNS = 5


def circumstances(results: Mapping[str, Any]) -> str:
    """When, on what, and beside what load the samples were taken."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    changed = " with changes that are not committed" if results["changed"] else ""
    return (
        f"at commit `{results['commit'][:12]}`{changed}, on {results['cpu']} with {results['cores']} cores, "
        f"{results['began']}; load {' / '.join(results['load'])} at the beginning and the end. {versions}."
    )


def head(results: Mapping[str, Any], goals: int, missed: int) -> str:
    """How many goals are met, and how that was measured."""
    return f"{goals - missed} of {goals} goals are met. {results['runs']} samples each, {circumstances(results)}"


class Line(Protocol):
    """A line of a table; some have a goal."""

    @property
    def name(self) -> str:
        """Tells it from the others."""

    @property
    def limit(self) -> float | None:
        """None where there is no goal."""

    def is_good(self, samples: Samples) -> bool:
        """Is the goal met? True where there is none."""

    def cells(self, samples: Samples) -> Sequence[str]:
        """What stands in the table."""


def unexplained(lines: Sequence[Line], samples: Samples, causes: Mapping[str, str]) -> list[str]:
    """A sentence for each miss that `causes` does not name."""
    missed = [line.name for line in lines if not line.is_good(samples)]
    return [f"{name}: misses its goal and CAUSES names no cause" for name in missed if name not in causes]


def text_of(lines: Sequence[Line], samples: Samples, widths: Sequence[int]) -> str:
    """Lines for a terminal."""
    rows = [zip(line.cells(samples), widths, strict=True) for line in lines]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in row) for row in rows)


def markdown_of(
    lines: Sequence[Line], results: Mapping[str, Any], columns: str, causes: Mapping[str, str], *behind: str
) -> str:
    """How many goals are met and how that was measured, the table, the lines `behind` it, and why it misses."""
    samples = results["samples"]
    goals = [line for line in lines if line.limit is not None]
    missed = [line.name for line in goals if not line.is_good(samples)]
    text = [
        head(results, len(goals), len(missed)),
        "",
        columns,
        "|" + "---|" * (columns.count("|") - 1),
        *(row(line.cells(samples)) for line in lines),
        *behind,
    ]
    return "\n".join(text + reasons("Why goals are missed:", {name: causes[name] for name in missed}))


def row(cells: Sequence[str]) -> str:
    """One line of a table, with a miss standing out."""
    return f"| {' | '.join(cells)} |".replace("| MISSED |", "| **missed** |")


def reasons(title: str, causes: Mapping[str, str]) -> list[str]:
    """The lines below a table: why it misses what it misses; none where it misses nothing."""
    return ["", title, "", *(f"- {name}: {cause}" for name, cause in causes.items())] if causes else []


def spread(values: Sequence[float], unit: str, number: Callable[[float], str]) -> str:
    """The median, with the least and the most."""
    middle, least, most = (number(value) for value in (median(values), min(values), max(values)))
    return f"{middle} {unit} ({least} to {most})"


def too_few(case: str, taken: Sequence[Mapping[str, Any]]) -> str | None:
    """Why there is no table yet."""
    return f"{case}: {len(taken)} samples, {FEWEST_RUNS} are needed" if len(taken) < FEWEST_RUNS else None
