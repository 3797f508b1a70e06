"""Decisions about time and repetition, without I/O: what is left, may this call be made again, how long to pause."""

from __future__ import annotations

import threading
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


class Pacer:
    """When the next call may start: no more than `max_rps` calls a second, fewer after the server asked for it.

    Every refusal for lack of resources halves the rate, every success lets it grow by a fiftieth, up to `max_rps`.
    Shared by threads.
    """

    SLOWEST = 1.0
    """Seconds between calls, at most."""
    FIRST_BRAKE = 0.005
    """Seconds between calls after the first refusal of a connection without `max_rps`."""

    ONE_BURST = 0.25
    """Seconds in which further refusals are the same one."""

    def __init__(self, max_rps: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._base = 1 / max_rps if max_rps else 0.0
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0
        self._braked_until = 0.0
        self.interval = self._base
        """Seconds between the starts of two calls; 0 is no limit."""

    def delay(self) -> float:
        """Take the next place in the row; the seconds until its turn."""
        if not self.interval:
            return 0.0
        with self._lock:
            now = self._clock()
            turn = max(self._next, now)
            self._next = turn + self.interval
            return turn - now

    def refused(self) -> None:
        """The server asked for fewer calls."""
        with self._lock:
            now = self._clock()
            if now < self._braked_until:
                return  # calls that were under way together are one answer, not many
            self._braked_until = now + self.ONE_BURST
            self.interval = min(max(self.interval * 2, self.FIRST_BRAKE), max(self.SLOWEST, self._base))

    def served(self) -> None:
        """A call went well."""
        if self.interval > self._base:
            with self._lock:
                eased = self.interval / 1.02
                self.interval = eased if eased > max(self._base, self.FIRST_BRAKE / 10) else self._base


class SpentBudget(stop_base):
    """tenacity: stop when the next pause would end with the budget, or so close to it that its error hides ours."""

    SHORTEST = 0.05
    """Seconds"""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def __call__(self, retry_state: RetryCallState) -> bool:
        """True when there is no time for another attempt worth the name."""
        return self._budget.left() - retry_state.upcoming_sleep < self.SHORTEST


def may_repeat(error: BaseException, repeat: Repeat) -> bool:
    """Would another attempt have a chance, and is it safe?"""
    return isinstance(error, BTrDBError) and error.retryable and repeat is not Repeat.NO


def retry_when(repeat: Repeat) -> retry_if_exception:
    """tenacity: the same decision as a retry predicate."""
    return retry_if_exception(lambda error: may_repeat(error, repeat))
