"""What an audit found, as values that JSON holds: the truth that pages, notifications and comparisons are made of.

Made by `running.run_suite`, kept by `storing.store`; nothing here makes calls. A run says first how much it could see
(`Coverage`), then what became of each check (`CheckResult`). All failures of a run stand in a file of their own
(`failures`); a result holds only a sample of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from airflow_provider_btrdb.client.errors import BTrDBError

Outcome: TypeAlias = Literal["pass", "warn", "fail", "error", "skipped"]
"""`error`: it could not be found out, or too little was seen; `skipped`: it was not tried, and `message` says why."""
OUTCOMES: tuple[Outcome, ...] = ("error", "fail", "warn", "skipped", "pass")
"""The worst first."""
Severity: TypeAlias = Literal["warn", "error"]
Unit: TypeAlias = Literal["streams", "keys", "groups", "collections", "rows"]
"""What a check counts: of `unique` keys, of `consistent` groups, of `rare_keys` annotation keys, of `sql` rows."""

FORMAT = 1
"""Of the JSON; a reader refuses others."""


class Result(BaseModel):
    """A part of a run; equal values are equal JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Failure(Result):
    """One thing that breaks a check."""

    id: str
    """16 hexadecimal digits; the same thing breaking the same check in another run has the same."""
    message: str
    """What is wrong, without the name of the stream: `unit is 'Volts'`. Stored texts in it are data of others."""
    severity: Severity = "error"
    """`warn` where it can only warn."""
    collection: str = ""
    name: str = ""
    uuid: str | None = None
    """The stream, or the first of several; None for a collection, an annotation key and a row of SQL."""
    uuids: tuple[str, ...] = ()
    """Of several streams the first few."""

    @property
    def place(self) -> str:
        """`collection/name`, or what there is of it."""
        return f"{self.collection}/{self.name}" if self.name else self.collection


class Comparison(Result):
    """The failures of a check beside those of the run before."""

    new: int
    fixed: int
    still: int
    new_sample: tuple[Failure, ...] = ()
    fixed_sample: tuple[Failure, ...] = ()
    """As the run before had them."""


class CheckResult(Result):
    """What became of one check."""

    name: str
    """Unique within the suite."""
    kind: str
    """`required`, `allowed`, ... as the suite has it."""
    description: str = ""
    owner: str = ""
    severity: Severity = "error"
    error_if: str = ""
    """When it fails: `> 0`, `> 1%`; "" for a check that warns at most."""
    warn_if: str = ""
    fields: tuple[str, ...] = ()
    """Which fields of streams it is about: `unit`, `annotations.site`; empty for points and for SQL."""
    outcome: Outcome
    message: str
    """One sentence."""
    unit: Unit = "streams"
    checked: int | None = None
    """How many were looked at; None where that is not known (rows of SQL, and checks that did not run)."""
    failed: int = 0
    """All that break it; `sample` has the first of them."""
    hard: int = 0
    """Those of them that are no mere warnings."""
    stored: int = 0
    """How many of the failures the file of failures has: all, up to a bound."""
    sample: tuple[Failure, ...] = ()
    comparison: Comparison | None = None
    """None in the first run, and where one of the two runs does not know all failures."""
    how: Literal["", "sql", "listing", "metadata", "points"] = ""
    """Where the answer came from; "" for a check that did not run."""

    @property
    def percent(self) -> float | None:
        """Of what was checked, how much fails; None where that is not known."""
        return None if self.checked is None else 100 * self.failed / self.checked if self.checked else 0.0


class Coverage(Result):
    """How much the audit could see: listings leave out what an API key may not read."""

    outcome: Literal["pass", "error"]
    message: str
    collections: int
    streams: int
    before_collections: int | None = None
    """What is compared with: of the last run that did not drop; None in the first run, and when a drop is accepted."""
    before_streams: int | None = None
    baseline_collections: int | None = None
    """What the next run is compared with: the same when this one drops, else what is seen now."""
    baseline_streams: int | None = None
    expected_collections: int | None = None
    """At least so many, as the suite says."""
    expected_streams: int | None = None
    lost: tuple[str, ...] = ()
    """The first collections that the last run saw and this one does not."""
    lost_count: int = 0


class Place(Result):
    """A collection, and how much of it fails."""

    collection: str
    streams: int
    failures: int
    """Of all checks together; a stream can fail several."""


class RunResult(Result):
    """An audit from its beginning to its end."""

    format: Literal[1] = 1
    run_id: str
    """Sorts by time: `20240131T020304.567890Z`, with `-0of4` behind it for a shard."""
    suite: str
    description: str = ""
    source: str = ""
    """The file of the suite."""
    endpoint: str = ""
    began: str
    """RFC 3339, UTC."""
    seconds: float
    shard: tuple[int, int] | None = None
    """(k, n): only shard k of n was looked at."""
    sql: bool
    """Did the server answer SQL?"""
    last_run_id: str | None = None
    """What it is compared with."""
    coverage: Coverage
    checks: tuple[CheckResult, ...]
    """In the order of the suite."""
    places: tuple[Place, ...] = ()
    """Collections with failures, those with the most first, up to `MOST_PLACES`; sorted by name where equal."""
    places_left_out: int = 0

    @property
    def outcome(self) -> Outcome:
        """The worst of coverage and checks; `pass` when all else was skipped."""
        found = {self.coverage.outcome, *(check.outcome for check in self.checks)}
        return next(outcome for outcome in OUTCOMES if outcome in found and outcome != "skipped")

    @property
    def counts(self) -> dict[Outcome, int]:
        """How many checks had each outcome; outcomes without one are 0. Coverage is not among them."""
        found = Counter(check.outcome for check in self.checks)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    def error(self) -> AuditError | None:
        """What a task or a command should raise; None when all passed, or warned at most."""
        if self.outcome not in ("error", "fail"):
            return None
        said = [f"coverage: {self.coverage.message}"] if self.coverage.outcome == "error" else []
        said += [f"{one.name}: {one.message}" for one in self.checks if one.outcome in ("error", "fail")]
        rest = f"; and {len(said) - 3} more" if len(said) > 3 else ""
        return AuditError(f"the audit {self.suite} found {_summed(self)}: {'; '.join(said[:3])}{rest}")


MOST_PLACES = 500


class AuditError(BTrDBError):
    """An audit found failures, or could not find out; trying again mends no data, so it is not retryable."""


def summary(run: RunResult) -> dict[str, Any]:
    """A run in short, for XCom and logs: outcome, counts, coverage."""
    return {
        "suite": run.suite,
        "run_id": run.run_id,
        "outcome": run.outcome,
        "checks": dict(run.counts),
        "failures": sum(check.failed for check in run.checks),
        "collections": run.coverage.collections,
        "streams": run.coverage.streams,
    }


def _summed(run: RunResult) -> str:
    counts = run.counts
    parts = [f"{counts['fail']} failed checks" if counts["fail"] else "", _errors(counts["error"])]
    parts.append("a drop in coverage" if run.coverage.outcome == "error" else "")
    return listed(part for part in parts if part)


def _errors(count: int) -> str:
    return f"{count} checks that could not run" if count else ""


def listed(words: Iterable[str]) -> str:
    """`a, b and c`"""
    *most, last = list(words)
    return f"{', '.join(most)} and {last}" if most else last
