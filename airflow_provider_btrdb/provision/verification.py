"""Reading again what was applied, in as few listings as cover it."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_btrdb.catalog.snapshot import read, read_one
from airflow_provider_btrdb.catalog.streams import StoredStream
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import in_flight
from airflow_provider_btrdb.client.errors import BTrDBError, PermissionDeniedError
from airflow_provider_btrdb.provision.plans import Change, Plan
from airflow_provider_btrdb.provision.results import Applied, StreamResult
from airflow_provider_btrdb.provision.standing import holds

NOT_THERE = "it was applied, and reading it again does not show it: it is gone, or this key may not see it"
UNREADABLE = "it was applied, and this key may not read it: give the key `read` on the collection"
ANOTHER = "it was applied, and reading it again shows another state: somebody has changed it since"


async def verified(calls: AsyncCalls, plan: Plan, applied: Applied) -> Applied:
    """The same results, with those turned stale that reading does not confirm."""
    pairs = list(zip(plan.changes, applied.results, strict=True))
    wanted = {result.uuid.bytes for _, result in pairs if result.good}
    scope = plan.scope.narrowed({result.collection for _, result in pairs if result.good})
    try:
        there = await read(scope, lambda stream: stream.uuid in wanted)(calls)
    except BTrDBError as error:
        return replace(applied, verify_error=error)
    results = [_confirmed(change, result, there.get(result.uuid.bytes)) for change, result in pairs]
    await _tell_unreadable(calls, results)
    return replace(applied, results=tuple(results), verified=True)


async def _tell_unreadable(calls: AsyncCalls, results: list[StreamResult]) -> None:
    """A key may create where it may not read; then nothing can be said about the stream, and its rows never settle."""

    async def ask(number: int) -> None:
        result = results[number]
        try:
            await read_one(calls, result.uuid)
        except PermissionDeniedError as error:
            error.message = UNREADABLE
            results[number] = replace(result, outcome="failed", error=error, detail=UNREADABLE)
        except BTrDBError:
            return  # that reading does not show it stays said

    missing = [number for number, result in enumerate(results) if result.detail == NOT_THERE]
    await in_flight(calls.config.max_in_flight, missing, ask)


def _confirmed(change: Change, result: StreamResult, stream: StoredStream | None) -> StreamResult:
    if not result.good:
        return result
    if change.kind == "destroy":
        return result if stream is None else replace(result, outcome="stale", detail=ANOTHER)
    if stream is None:
        return replace(result, outcome="stale", detail=NOT_THERE)
    return result if holds(change, stream) else replace(result, outcome="stale", detail=ANOTHER)
