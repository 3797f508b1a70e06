"""What became of a plan: one result for each change, and the error that they amount to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

from airflow_provider_btrdb.catalog.streams import printable
from airflow_provider_btrdb.client.errors import BTrDBError
from airflow_provider_btrdb.provision.plans import Change, Kind

Outcome = Literal["created", "updated", "destroyed", "unchanged", "stale", "failed"]
OUTCOMES: tuple[Outcome, ...] = ("created", "updated", "destroyed", "unchanged", "stale", "failed")


class ProvisionError(BTrDBError):
    """Some streams are not as the plan wants them; `retryable` when applying the same plan again has a chance."""

    def __init__(self, message: str, *, retryable: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.retryable = retryable


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult:
    """What became of one change."""

    kind: Kind
    """What was planned."""
    outcome: Outcome
    """"updated" also for a move. "unchanged": it was done already, by an earlier run or by somebody else. "stale": the
    stream is neither as the plan saw it nor as it wants it; make a new plan."""
    collection: str
    name: str
    uuid: UUID
    """Of the stream that stands for the change now."""
    error: BTrDBError | None = None
    """Of a failed one."""
    detail: str = ""
    """A sentence about a stale or failed one."""

    @classmethod
    def of(
        cls,
        change: Change,
        outcome: Outcome,
        *,
        uuid: UUID | None = None,
        error: BTrDBError | None = None,
        detail: str = "",
    ) -> StreamResult:
        """The result of a change."""
        return cls(
            kind=change.kind,
            outcome=outcome,
            collection=change.collection,
            name=change.name,
            uuid=uuid or change.uuid,
            error=error,
            detail=detail or (error.message if error is not None else ""),
        )

    @property
    def good(self) -> bool:
        """Is the stream as the plan wants it?"""
        return self.outcome not in ("stale", "failed")

    def as_row(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "collection": self.collection,
            "name": self.name,
            "uuid": str(self.uuid),
            "planned": self.kind,
            "outcome": self.outcome,
            "error": None if self.error is None else type(self.error).__name__,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a plan."""

    results: tuple[StreamResult, ...]
    """One for each change, in the order of the plan."""
    verified: bool = False
    """Was every stream read again afterwards?"""
    verify_error: BTrDBError | None = None
    """Why not, when it was tried."""

    @property
    def counts(self) -> dict[str, int]:
        """How many results of each outcome; outcomes without one are 0."""
        found = Counter(result.outcome for result in self.results)
        return {outcome: found[outcome] for outcome in OUTCOMES}

    @property
    def bad(self) -> tuple[StreamResult, ...]:
        """Those that are stale or failed."""
        return tuple(result for result in self.results if not result.good)

    def error(self) -> ProvisionError | None:
        """None when all is well. Retryable when every failure is; a stale stream is not: that needs a new plan."""
        bad = self.bad
        if not bad:
            if self.verify_error is None:
                return None
            message = f"everything was applied, but reading it again failed: {self.verify_error.message}"
            return ProvisionError(message, retryable=self.verify_error.retryable)
        retryable = all(result.error is not None and result.error.retryable for result in bad)
        message = f"{len(bad)} of {len(self.results)} changes were not made: {_first(bad)}"
        return ProvisionError(message, retryable=retryable)


def _first(bad: Iterable[StreamResult], most: int = 3) -> str:
    lines = [printable(f"{one.collection}/{one.name} is {one.outcome} ({one.detail})") for one in bad]
    rest = f", and {len(lines) - most} more" if len(lines) > most else ""
    return "; ".join(lines[:most]) + rest
