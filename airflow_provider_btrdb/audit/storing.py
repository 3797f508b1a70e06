"""Runs as folders: `run.json` (the result), the failures and `collections.jsonl`; and comparing with the last one.

A folder is a path of any kind with `/`, `name`, `mkdir`, `open`, `exists` and `iterdir`: pathlib's, or one of object
storage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from airflow_provider_btrdb.audit.failures import FORMATS, Row, format_named, lines_of
from airflow_provider_btrdb.audit.files import write_whole
from airflow_provider_btrdb.audit.findings import Findings, Spool
from airflow_provider_btrdb.audit.results import CheckResult, Comparison, Failure, RunResult
from airflow_provider_btrdb.client.errors import InputError, MissingExtraError

MOST_LINES = 1_000
"""Failures of one check of the last run that are kept to be shown where they are fixed."""
RUN, COLLECTIONS = "run.json", "collections.jsonl"


@dataclass(slots=True)
class Audit:
    """A run that was just made; close it, since it holds a file."""

    result: RunResult
    failures: Spool
    collections: dict[str, int]
    """How many streams were seen of each."""

    def close(self) -> None:
        """Forget the failures that are not stored."""
        self.failures.close()


@dataclass(frozen=True, slots=True)
class LastRun:
    """What a later run wants to know of an earlier one."""

    result: RunResult
    failures: Mapping[str, Mapping[bytes, bytes]]
    """By check and id: the failure as JSON, of the first `MOST_LINES` of a check; of the others nothing."""
    collections: frozenset[str]


def store(audit: Audit, folder: Any, *, failures: str = "jsonl") -> Any:
    """Write a run below a folder; returns the run's own folder. `run.json` comes last: without it there is no run.

    `failures` are kept as `jsonl`, or as `parquet`, which needs the extra `arrow`. Raises InputError for another word,
    and MissingExtraError.
    """
    kept = format_named(failures)
    place = folder / audit.result.run_id
    place.mkdir(parents=True, exist_ok=True)
    with (place / kept.file).open("wb") as file:
        kept.write(audit.failures.lines(), file)
    with (place / COLLECTIONS).open("wb") as file:
        for collection, streams in sorted(audit.collections.items()):
            file.write(json.dumps([collection, streams], ensure_ascii=False).encode() + b"\n")
    write_whole(place / RUN, audit.result.model_dump_json(indent=1).encode() + b"\n")
    return place


def load(place: Any, *, failures: bool = True) -> RunResult:
    """The result of a stored run. Raises InputError for what is none.

    `failures=False` leaves out samples, comparisons and places, which are most of it: for who reads many runs.
    """
    with (place / RUN).open("rb") as file:
        data = file.read()
    try:
        return RunResult.model_validate_json(data if failures else _without_failures(data))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at = ".".join(map(str, first["loc"]))
        raise InputError(f"{place / RUN} is no run of this version: {at}: {first['msg']}") from None


def _without_failures(data: bytes) -> bytes:
    """The JSON of a run with less in it; what is none is left as it is."""
    try:
        run = json.loads(data)
        kept = [{key: one[key] for key in one if key not in ("sample", "comparison")} for one in run["checks"]]
        return json.dumps({**run, "checks": kept, "places": []}).encode()
    except (ValueError, TypeError, LookupError, RecursionError):
        return data


def stored_failures(place: Any) -> Iterator[Row]:
    """All failures of a stored run, in whichever format it has them. Raises MissingExtraError."""
    parquet = (place / FORMATS["parquet"].file).exists()
    kept = FORMATS["parquet" if parquet else "jsonl"]
    with (place / kept.file).open("rb") as file:
        try:
            yield from kept.read(file)
        except MissingExtraError as error:
            raise MissingExtraError(f"{place / kept.file} cannot be read: {error}") from None


def runs(folder: Any) -> Iterator[Any]:
    """The folders of the runs below a folder, the newest first. Each is looked at when it is asked for."""
    if folder.exists():
        for place in sorted(folder.iterdir(), key=lambda place: str(place.name), reverse=True):
            if (place / RUN).exists():
                yield place


def load_last(folder: Any, suite: str, shard: tuple[int, int] | None = None) -> LastRun | None:
    """The newest run of this suite, and of this shard, below a folder; None where there is none.

    Raises InputError for a newer one that cannot be read, unless it says that it is of another suite.
    """
    for place in runs(folder):
        try:
            result = load(place)
        except InputError:
            if _of_another(place, suite):
                continue
            raise
        if result.suite == suite and result.shard == shard:
            failures: dict[str, dict[bytes, bytes]] = {}
            for row in stored_failures(place):
                known = failures.setdefault(row.pop("check"), {})
                known[bytes.fromhex(row["id"])] = json.dumps(row).encode() if len(known) < MOST_LINES else b""
            with (place / COLLECTIONS).open("rb") as file:
                collections = frozenset(json.loads(line)[0] for line in lines_of(file))
            return LastRun(result, failures, collections)
    return None


def _of_another(place: Any, suite: str) -> bool:
    try:
        with (place / RUN).open("rb") as file:
            return bool(json.load(file)["suite"] != suite)
    except (ValueError, TypeError, LookupError, RecursionError):
        return False


def compared(result: CheckResult, findings: Findings, last: LastRun | None) -> Comparison | None:
    """New, fixed and still failing; None where not all failures of both runs are known."""
    earlier = next((one for one in last.result.checks if one.name == result.name), None) if last else None
    if last is None or earlier is None or {result.outcome, earlier.outcome} & {"error", "skipped"}:
        return None
    if result.stored < result.failed or earlier.stored < earlier.failed:
        return None
    before = last.failures.get(result.name, {})
    fixed = [key for key in before if key not in findings.ids]
    kept = [before[key] for key in fixed if before[key]][: findings.check.sample]
    return Comparison(
        new=sum(key not in before for key in findings.ids),
        fixed=len(fixed),
        still=sum(key in before for key in findings.ids),
        new_sample=tuple(one for one in findings.sample if bytes.fromhex(one.id) not in before),
        fixed_sample=tuple(map(Failure.model_validate_json, kept)),
    )
