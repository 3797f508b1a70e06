"""One poll for all triggers of an event loop that wait on the same connection with the same interval.

Thousands of waiting tasks ask the server a handful of questions per interval, not thousands. Rounds lie on a grid of
intervals; whoever joins takes part in the first round that is at least one interval away, because its sensor has just
looked (and a trigger that fires at once races the scheduler).
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from contextlib import suppress
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provider_btrdb.client.questions import Answers, Question

    Waiter = tuple[Sequence[Question], asyncio.Future[Answers | Exception]]

_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, float], Poller]] = WeakKeyDictionary()


def poller_for(btrdb_conn_id: str, interval: float) -> Poller:
    """The running loop's poller for this connection and this many seconds between rounds."""
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    key = btrdb_conn_id, interval
    if key not in pollers:
        pollers[key] = Poller(btrdb_conn_id, interval)
    return pollers[key]


class Poller:
    """Asks once per interval what all who wait want to know. Runs only while somebody waits."""

    def __init__(self, btrdb_conn_id: str, interval: float) -> None:
        self._conn_id = btrdb_conn_id
        self._interval = interval
        self._origin = self._now()
        self._numbers = itertools.count()
        self._waiting: list[tuple[float, int, Waiter]] = []
        self._earlier = asyncio.Event()
        """Set when somebody joins who is due before all others."""
        self._task: asyncio.Task[None] | None = None
        self._rounds: set[asyncio.Task[None]] = set()

    async def ask(self, questions: Sequence[Question], *, not_before: float, no_later: float) -> Answers | Exception:
        """The answers of the first round after `not_before`, or of a look at `no_later` if that is earlier.

        Times are those of the loop's clock. What failed comes as a value: raised, one exception would collect the
        tracebacks of all who waited.
        """
        rounds = math.ceil((not_before - self._origin) / self._interval)
        due = min(self._origin + rounds * self._interval, no_later)
        future: asyncio.Future[Answers | Exception] = asyncio.get_running_loop().create_future()
        if not self._waiting or due < self._waiting[0][0]:
            self._earlier.set()
        heapq.heappush(self._waiting, (due, next(self._numbers), (questions, future)))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name=f"btrdb-poller-{self._conn_id}")
        return await future

    async def _run(self) -> None:
        while self._waiting:
            self._earlier.clear()
            pause = self._waiting[0][0] - self._now()
            if pause > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._earlier.wait()
                    continue
            due = self._due()
            if due:
                # A round of its own task: one slow answer must not hold up those who are due next.
                task = asyncio.create_task(self._round(due), name=f"btrdb-round-{self._conn_id}")
                self._rounds.add(task)
                task.add_done_callback(self._rounds.discard)

    def _due(self) -> list[Waiter]:
        now, due = self._now(), []
        while self._waiting and self._waiting[0][0] <= now:
            _, _, waiter = heapq.heappop(self._waiting)
            if not waiter[1].done():  # whoever was cancelled does not count
                due.append(waiter)
        return due

    async def _round(self, due: Sequence[Waiter]) -> None:
        answers = await self._answers([question for questions, _ in due for question in questions])
        for _, future in due:
            if not future.done():
                future.set_result(answers)

    async def _answers(self, questions: Sequence[Question]) -> Answers | Exception:
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        try:
            db = await BTrDBHook(self._conn_id).get_async_client()
            return await db.ask_many(questions)
        except Exception as error:  # it is for each of those who wait to say what it means
            return error

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
