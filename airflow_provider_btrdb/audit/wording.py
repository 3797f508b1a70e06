"""A run as lines for a terminal and a log."""

from __future__ import annotations

from collections.abc import Iterator

from airflow_provider_btrdb.audit.results import CheckResult, Failure, RunResult
from airflow_provider_btrdb.catalog.streams import printable


def run_text(run: RunResult, *, most: int = 5) -> str:
    """Coverage, a line for each check, below it up to `most` failures, and the total."""
    lines = [printable(f"{word(run.coverage.outcome)} coverage: {run.coverage.message}")]
    lines += [f"    lost: {printable(name)}" for name in run.coverage.lost[:most]]
    for check in run.checks:
        lines += _lines(check, most)
    return "\n".join([*lines, total(run)])


def total(run: RunResult) -> str:
    """`Audit grid: fail (2 fail, 1 warn, 9 pass).`"""
    counts = ", ".join(f"{count} {outcome}" for outcome, count in run.counts.items() if count)
    return printable(f"Audit {run.suite}: {run.outcome} ({counts}).")


def _lines(check: CheckResult, most: int) -> Iterator[str]:
    changed = check.comparison
    beside = "" if changed is None else f" ({changed.new} new, {changed.still} still, {changed.fixed} fixed)"
    owner = f" [{check.owner}]" if check.owner else ""
    yield printable(f"{word(check.outcome)} {check.name}{owner}: {check.message}{beside}")
    for failure in check.sample[:most]:
        yield f"    {failure_text(failure)}"
    if check.failed > min(most, len(check.sample)):
        yield f"    ... and {check.failed - min(most, len(check.sample))} more"


def failure_text(failure: Failure) -> str:
    """`grid/bus1/L1MAG: unit is 'Volts' (0f6d...)`"""
    place = f"{failure.place}: " if failure.place else ""
    uuid = f" ({failure.uuid})" if failure.uuid else ""
    return printable(f"{place}{failure.message}{uuid}")


def word(outcome: str) -> str:
    """The outcome, as wide as all others."""
    return f"{outcome.upper():<7}"
