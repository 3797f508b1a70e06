"""Each rule's part in the pass: what it wants to see, and what it does when everything was shown."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from airflow_provider_btrdb.audit.again import Again, tell_groups, tell_references
from airflow_provider_btrdb.audit.groups import KeyState, ValueState
from airflow_provider_btrdb.audit.listing import CountWatch, Pass, ReferenceWatch, RowWatch
from airflow_provider_btrdb.audit.states import State
from airflow_provider_btrdb.audit.suites import Consistent, CountBetween, RefersTo, RowRule, Unique
from airflow_provider_btrdb.audit.telling import add_counts

Finish: TypeAlias = Callable[[Again], Awaitable[None]]


def watch(one_pass: Pass, state: State) -> Finish | None:
    """Have a check shown its streams; what is left to do afterwards. None for a rule that no pass answers."""
    rule, selector, findings = state.check.rule, state.check.selector, state.findings
    if isinstance(rule, RowRule):
        rows = RowWatch(rule, findings)
        one_pass.watch(selector, rows)

        async def finish(again: Again) -> None:
            state.found(rows.checked, "listing")

    elif isinstance(rule, Unique | Consistent):
        uuids = one_pass.keep_uuids()
        kept = KeyState(rule, uuids) if isinstance(rule, Unique) else ValueState(rule, uuids)
        one_pass.watch(selector, kept.see)

        async def finish(again: Again) -> None:
            total, bad, groups = kept.groups()
            await tell_groups(again, rule, findings, bad, groups)
            state.found(total, "listing")

    elif isinstance(rule, RefersTo):
        references = ReferenceWatch(rule, findings, one_pass.keep_uuids())
        one_pass.watch(selector, references)

        async def finish(again: Again) -> None:
            await tell_references(again, rule, findings, references.state)
            state.found(references.state.checked, "listing")

    elif isinstance(rule, CountBetween):
        counted = CountWatch()
        one_pass.watch(selector.of_collections, counted.all)
        one_pass.watch(selector, counted.met)

        async def finish(again: Again) -> None:
            state.found(add_counts(rule, findings, sorted(counted.counts.items())), "listing")

    else:
        return None
    return finish
