"""Making an audit: SQL where it is served and equal, one pass over the catalogue for the rest, then points.

Every check is made, whatever becomes of the others. What no check is to blame for, such as a connection that breaks, is
raised as the error that it is: the audit can be made again. Loops only; what is found is decided elsewhere.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Literal

from airflow_provider_btrdb.audit import pushed
from airflow_provider_btrdb.audit.again import Again
from airflow_provider_btrdb.audit.asking import REFUSED, pages_of, rows_of, serves_sql, uuids_of
from airflow_provider_btrdb.audit.fields import Seen
from airflow_provider_btrdb.audit.findings import Findings, Spool
from airflow_provider_btrdb.audit.judging import judge_coverage
from airflow_provider_btrdb.audit.listing import Pass, Target, Targets
from airflow_provider_btrdb.audit.passing import watch
from airflow_provider_btrdb.audit.pointing import check_points, target_of_row
from airflow_provider_btrdb.audit.pushed import Statement
from airflow_provider_btrdb.audit.results import MOST_PLACES, Coverage, Place, RunResult
from airflow_provider_btrdb.audit.selectors import Selector
from airflow_provider_btrdb.audit.states import State
from airflow_provider_btrdb.audit.storing import Audit, LastRun
from airflow_provider_btrdb.audit.suites import (
    Consistent,
    PointRule,
    RareKeys,
    RefersTo,
    RowRule,
    Sql,
    Suite,
    Unique,
)
from airflow_provider_btrdb.audit.telling import add_rare_keys
from airflow_provider_btrdb.catalog.shards import checked_shard, in_shard
from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work, in_flight
from airflow_provider_btrdb.client.models import Progress
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SQL_AT_ONCE = 2
"""Statements under way at the same time: each may keep the database busy for seconds."""
KEPT_AT_ONCE, MOST_KEPT = 20, 4_000_000
"""Checks of many streams together in one pass: so many, or as many as keep so many values (28 bytes at most each)."""
COUNTED_AT_ONCE = 50
"""Selectors of one statement that counts."""


def run_suite(
    suite: Suite,
    *,
    last: LastRun | None = None,
    accept_drop: bool = False,
    use_sql: bool = True,
    shard: tuple[int, int] | None = None,
    now_ns: int | None = None,
    progress: Progress | None = None,
) -> Work[Audit]:
    """Make the checks of a suite; run it on a connection: `db.run(run_suite(suite))`.

    `last` is what to compare with (`storing.load_last`); `accept_drop` takes what is seen now for enough.
    `use_sql=False` asks no SQL even where it is served. `shard` (k, n) looks at the points of the collections of shard
    k only, and makes the checks of metadata in shard 0 alone. `now_ns` is the time that points are judged by.
    `progress(done, total)` tells of streams whose points were looked at. Raises what is retryable, and
    AuthenticationError; all else is in the result.
    """
    part = checked_shard(shard)

    async def work(calls: AsyncCalls) -> Audit:
        run = _Run(calls, suite, part, time.time_ns() if now_ns is None else now_ns, progress)
        try:
            return await run.make(last, accept_drop, use_sql)
        except BaseException:
            run.spool.close()
            raise

    return work


class _Run:
    """One run of a suite."""

    def __init__(
        self, calls: AsyncCalls, suite: Suite, shard: tuple[int, int] | None, now_ns: int, progress: Progress | None
    ) -> None:
        self._calls = calls
        self._suite = suite
        self._shard = shard
        self._now_ns = now_ns
        self._progress = progress
        self._sql = False
        self._named: dict[str, frozenset[bytes]] = {}
        self.spool = Spool()
        self._places: Counter[str] = Counter()
        self._states = [State(check, Findings(check, self.spool, self._places)) for check in suite.checks]
        self._collections: dict[str, int] = {}
        self._unseen = ""
        """Why nobody knows what the suite selects."""

    async def make(self, last: LastRun | None, accept_drop: bool, use_sql: bool) -> Audit:
        """The whole audit."""
        began, clock = datetime.now(UTC), time.perf_counter()
        self._sql = use_sql and await serves_sql(self._calls)
        self._refuse_what_cannot_run("the server answers none to this key" if use_sql else "none is to be asked")
        await self._users_sql()
        await self._push()
        targets = await self._list()
        await self._rare_keys()
        await check_points(self._calls, self._of_points(), targets, self._now_ns, self._progress)
        seen_before = None if last is None or accept_drop else last.result.coverage
        lost = sorted(last.collections - self._collections.keys()) if last is not None else []
        coverage = judge_coverage(self._suite, self._collections, seen_before, lost, unseen=self._unseen)
        result = self._result(began, time.perf_counter() - clock, coverage, last)
        return Audit(result, self.spool, self._collections)

    # ------------------------------------------------------------ what is not tried

    def _refuse_what_cannot_run(self, without_sql: str) -> None:
        for state in self._states:
            check = state.check
            if self._shard is not None and self._shard[0] and not isinstance(check.rule, PointRule):
                state.end("skipped", "is made by shard 0")
            elif not self._sql and (isinstance(check.rule, Sql) or check.selector.queries):
                outcome: Literal["error", "skipped"] = "skipped" if self._suite.without_sql == "skip" else "error"
                what = "is SQL" if isinstance(check.rule, Sql) else "selects by SQL"
                state.end(outcome, f"{what}, and {without_sql}")
        if self._suite.selector.queries and not self._sql:
            self._unseen = f"the suite selects by SQL, and {without_sql}"

    # ------------------------------------------------------------ SQL

    async def _users_sql(self) -> None:
        """The checks that are queries, and the uuids that queries select."""
        states = [state for state in self._waiting() if isinstance(state.check.rule, Sql)]
        await in_flight(SQL_AT_ONCE, states, self._one_query)
        queries = dict.fromkeys(query for state in self._waiting() for query in state.check.selector.queries)
        if self._sql:
            queries |= dict.fromkeys(self._suite.selector.queries)
        await in_flight(SQL_AT_ONCE, queries, self._name)

    async def _one_query(self, state: State) -> None:
        rule = state.check.rule
        assert isinstance(rule, Sql)
        try:
            async with aclosing(pages_of(self._calls, Statement(rule.query, []))) as pages:
                async for page in pages:
                    for row in page:
                        pushed.add_row(state.findings, row)
        except REFUSED as error:
            state.end("error", f"the server refuses the query: {error.message}")
            return
        state.found(None, "sql")

    async def _name(self, query: str) -> None:
        try:
            self._named[query] = await uuids_of(self._calls, query)
        except (*REFUSED, ValueError) as error:
            self._named[query] = frozenset()
            refused = f"the server refuses the query that selects streams: {error}"
            if query in self._suite.selector.queries:
                self._unseen = refused
            for state in self._waiting():
                if query in state.check.selector.queries:
                    state.end("error", refused)

    async def _push(self) -> None:
        if not self._sql:
            return
        asked = [(state, pushed.statement_of(state.check)) for state in self._waiting()]
        await in_flight(SQL_AT_ONCE, [(state, one) for state, one in asked if one is not None], self._one_pushed)
        uncounted = self._uncounted()
        selectors = list(dict.fromkeys(state.check.selector for state in uncounted))
        counts: dict[Selector, int] = {}
        for at in range(0, len(selectors), COUNTED_AT_ONCE):
            several = selectors[at : at + COUNTED_AT_ONCE]
            for row in await self._by_sql(pushed.count_of(several)) or ():
                counts |= {selector: row[f"c{number}"] for number, selector in enumerate(several)}
        for state in uncounted:
            if state.check.selector in counts:
                state.found(counts[state.check.selector], "sql")
                state.uncounted = False

    async def _one_pushed(self, one: tuple[State, Statement]) -> None:
        """A check by SQL; one that the server refuses is left to the pass."""
        state, statement = one
        check, findings = state.check, state.findings
        checked: int | None = None
        try:
            if isinstance(check.rule, Consistent):
                checked = pushed.add_rows(check, findings, await rows_of(self._calls, statement))
            else:
                async with aclosing(pages_of(self._calls, statement)) as pages:
                    async for page in pages:
                        checked = pushed.total(check, checked, pushed.add_rows(check, findings, page))
        except REFUSED as error:
            if findings.failed:
                state.end("error", f"the server broke off its answer: {error.message}")
            return
        state.found(checked, "sql")
        state.uncounted = isinstance(check.rule, RowRule | RefersTo)

    async def _by_sql(self, statement: Statement | None) -> list[dict[str, Any]] | None:
        if statement is None or not self._sql:
            return None
        try:
            return await rows_of(self._calls, statement)
        except REFUSED:
            return None

    # ------------------------------------------------------------ the pass

    async def _list(self) -> Targets:
        """Everything that SQL did not tell: coverage, checks, and the streams whose points are looked at."""
        one_pass = self._pass()
        needed = await self._coverage(one_pass)
        targets = Targets()
        for selector in dict.fromkeys(state.check.selector for state in self._of_points()):
            rows = await self._by_sql(pushed.targets_of(selector))
            if rows is None:
                needed = True
                one_pass.watch(selector, self._collector(targets, selector))
            else:
                for target in map(target_of_row, rows):
                    if in_shard(target.collection, self._shard):
                        targets.add(selector, target)
        waiting = self._waiting()
        keeping = [state for state in waiting if isinstance(state.check.rule, Unique | Consistent | RefersTo)]
        later = keeping[KEPT_AT_ONCE:]
        uncounted = self._uncounted()
        for state in uncounted:
            state.found(0, "sql")
            one_pass.watch(state.check.selector, state.count_one)
        again = Again(self._calls)
        put_off = set(later)
        now = [state for state in waiting if state not in put_off]
        await self._look(one_pass, again, now, needed=needed or bool(uncounted))
        at_once = max(KEPT_AT_ONCE, MOST_KEPT // max(1, len(one_pass.uuids)))
        for at in range(0, len(later), at_once):
            await self._look(self._pass(), again, later[at : at + at_once])
        return targets

    def _pass(self) -> Pass:
        return Pass(lambda query: self._named.get(query, frozenset()))

    async def _look(self, one_pass: Pass, again: Again, states: Sequence[State], *, needed: bool = False) -> None:
        """List once for these checks, and for whoever watches already."""
        finishing = [finish for state in states if (finish := watch(one_pass, state)) is not None]
        if needed or finishing:
            await one_pass.run(self._calls, self._suite.selector.beginning)
        for finish in finishing:
            await finish(again)

    async def _coverage(self, one_pass: Pass) -> bool:
        """Does the pass have to count?"""
        selector = self._suite.selector
        if self._unseen:
            return False
        rows = await self._by_sql(pushed.collections_of(selector))
        if rows is not None:
            self._collections = {row["collection"]: row["n"] for row in rows}
            return False
        counts = self._collections

        def see(seen: Seen) -> None:
            counts[seen.collection] = counts.get(seen.collection, 0) + 1

        one_pass.watch(selector, see)
        return True

    def _collector(self, into: Targets, selector: Selector) -> Callable[[Seen], None]:
        def see(seen: Seen) -> None:
            if in_shard(seen.collection, self._shard):
                into.add(selector, Target(seen.uuid, seen.collection, seen.tags.get("name") or ""))

        return see

    # ------------------------------------------------------------ annotation keys, and the end

    async def _rare_keys(self) -> None:
        for state in self._waiting():
            rule = state.check.rule
            if isinstance(rule, RareKeys):
                prefix = state.check.selector.beginning
                asked = codec.request(pb.MetadataUsageParams, prefix=prefix)
                try:
                    reply = await self._calls.unary(rpcs.METADATA_USAGE, asked)
                except REFUSED as error:
                    state.end("error", f"the server refuses to count annotation keys: {error.message}")
                    continue
                streams = sum(n for name, n in self._collections.items() if name.startswith(prefix))
                keys = {item.key: item.count for item in reply.annotations}
                state.found(add_rare_keys(rule, state.findings, keys, streams), "metadata")

    def _uncounted(self) -> list[State]:
        return [state for state in self._states if state.how == "sql" and state.uncounted]

    def _waiting(self) -> list[State]:
        return [state for state in self._states if state.waits]

    def _of_points(self) -> list[State]:
        return [state for state in self._waiting() if isinstance(state.check.rule, PointRule)]

    def _result(self, began: datetime, seconds: float, coverage: Coverage, last: LastRun | None) -> RunResult:
        shard = self._shard
        ranked = sorted(self._places.items(), key=lambda place: (-place[1], place[0]))
        suffix = "" if shard is None else f"-{shard[0]}of{shard[1]}"
        return RunResult(
            run_id=f"{began:%Y%m%dT%H%M%S.%f}Z{suffix}",
            suite=self._suite.name,
            description=self._suite.description,
            source=self._suite.source,
            endpoint=self._calls.config.endpoint,
            began=f"{began:%Y-%m-%dT%H:%M:%S}Z",
            seconds=round(seconds, 3),
            shard=shard,
            sql=self._sql,
            last_run_id=None if last is None else last.result.run_id,
            coverage=coverage,
            checks=tuple(state.result(last) for state in self._states),
            places=tuple(
                Place(collection=name, streams=self._collections.get(name, 0), failures=count)
                for name, count in ranked[:MOST_PLACES]
            ),
            places_left_out=max(0, len(ranked) - MOST_PLACES),
        )
