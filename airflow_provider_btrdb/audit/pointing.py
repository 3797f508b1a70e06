"""Looking at the points of many streams, within the connection's cap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from airflow_provider_btrdb.audit.listing import Target, Targets
from airflow_provider_btrdb.audit.points import Broken, Points, broken
from airflow_provider_btrdb.audit.selectors import Selector
from airflow_provider_btrdb.audit.states import State
from airflow_provider_btrdb.audit.suites import PointRule
from airflow_provider_btrdb.audit.telling import add_stream
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import in_flight, tell
from airflow_provider_btrdb.client.errors import AuthenticationError, BTrDBError, StreamNotFoundError
from airflow_provider_btrdb.client.models import Progress

AT_ONCE = 4_096
"""Streams whose answers are held, so that failures are told in the order of the catalogue."""
MOST_ANSWERS = 100_000
"""Of all checks together; with many checks fewer streams are taken at a time."""


async def check_points(
    calls: AsyncCalls,
    states: Sequence[State],
    targets: Targets,
    now_ns: int,
    progress: Progress | None,
) -> None:
    """Make all checks of points; each stream is taken once, for all of its checks."""
    checks: dict[Selector, list[State]] = {}
    for state in states:
        checks.setdefault(state.check.selector, []).append(state)
    round_ = _Round(calls, now_ns)
    done = 0
    for part in targets.parts(min(AT_ONCE, max(1, MOST_ANSWERS // max(1, len(states))))):
        await round_.make({target: [state for one in taken for state in checks[one]] for target, taken in part.items()})
        done += len(part)
        if progress is not None:
            tell(progress, done, len(targets))
    for state in states:
        round_.finish(state)


class _Round:
    """What has been looked at."""

    def __init__(self, calls: AsyncCalls, now_ns: int) -> None:
        self._calls = calls
        self._now_ns = now_ns
        self._checked: Counter[State] = Counter()
        self._unread: dict[State, list[BTrDBError]] = {}

    async def make(self, wanted: Mapping[Target, Sequence[State]]) -> None:
        """Ask about some streams, and tell what is wrong in their order."""
        answers: dict[tuple[Target, State], Broken | BTrDBError | None] = {}

        async def one(target: Target) -> None:
            points = Points(self._calls, target.uuid, self._now_ns)
            for state in wanted[target]:
                rule = state.check.rule
                assert isinstance(rule, PointRule)
                try:
                    answers[target, state] = await broken(rule, points)
                except BTrDBError as error:
                    if error.retryable or isinstance(error, AuthenticationError):
                        raise
                    answers[target, state] = error

        await in_flight(self._calls.config.max_in_flight, wanted, one)
        for target in wanted:
            for state in wanted[target]:
                self._add(target, state, answers[target, state])

    def _add(self, target: Target, state: State, answer: Broken | BTrDBError | None) -> None:
        if isinstance(answer, StreamNotFoundError):
            return  # it was there when the catalogue was read
        if isinstance(answer, BTrDBError):
            self._unread.setdefault(state, []).append(answer)
            return
        self._checked[state] += 1
        if answer is not None:
            add_stream(state.findings, target.uuid, target.collection, target.name, answer.message, warns=answer.warns)

    def finish(self, state: State) -> None:
        """The check has seen all its streams."""
        state.found(self._checked[state], "points")
        unread = self._unread.get(state)
        if unread:
            state.end("error", f"the points of {len(unread)} streams could not be read: {unread[0]}")


def target_of_row(row: Mapping[str, object]) -> Target:
    """A row of `pushed.targets_of`."""
    return Target(UUID(str(row["uuid"])).bytes, str(row["collection"]), str(row["name"]))
