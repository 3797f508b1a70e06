"""Decisions about time and repetition, without I/O: what is left, may this call be made again, how long to pause."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from tenacity import RetryCallState, retry_if_exception, wait_random_exponential
from tenacity.stop import stop_base

from airflow_provider_btrdb.client.errors import BTrDBError

PAUSES = wait_random_exponential(multiplier=0.1, max=10)
"""Full jitter: a random part of 0.1 s, 0.2 s, 0.4 s ... at most 10 s."""


class Repeat(Enum):
    """Whether a call may be repeated after a failure that a repeat could mend."""

    YES = auto()
    """A read, or a change that ends in the same state."""
    VERIFY = auto()
    """Repeated; when the work may have been done without a reply, the caller checks the outcome by reading."""
    RESUME = auto()
    """A read of points: it goes on after the last one that arrived."""
    UNTIL_FIRST_ROW = auto()
    """A listing: repeated until the first row was handed out, never after."""
    NO = auto()
    """A repeat could do the work twice."""


@dataclass(slots=True)
class Budget:
    """The time that one operation may take, with all its attempts and pauses. Seconds on a monotonic clock."""

    total: float
    clock: Callable[[], float] = time.monotonic
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock()

    def left(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.started + self.total - self.clock())

    def renew(self) -> None:
        """Start again: the operation got ahead."""
        self.started = self.clock()


class SpentBudget(stop_base):
    """tenacity: stop when the next pause would end after the budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __call__(self, retry_state: RetryCallState) -> bool:
        """True when there is no time for another attempt."""
        return self._budget.left() <= retry_state.upcoming_sleep


def may_repeat(error: BaseException, repeat: Repeat) -> bool:
    """Would another attempt have a chance, and is it safe?"""
    return isinstance(error, BTrDBError) and error.retryable and repeat is not Repeat.NO


def retry_when(repeat: Repeat) -> retry_if_exception:
    """tenacity: the same decision as a retry predicate."""
    return retry_if_exception(lambda error: may_repeat(error, repeat))
