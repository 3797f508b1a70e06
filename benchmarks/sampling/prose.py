"""What every document of a benchmark says in the same way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

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
