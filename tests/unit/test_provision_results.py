"""Where a plan looks, and what is told of an apply."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from airflow_provider_btrdb.catalog.snapshot import FEW, Scope
from airflow_provider_btrdb.client.errors import RateLimitedError, StreamNotFoundError
from airflow_provider_btrdb.provision import Applied, Change, Difference, StreamResult, applied_text

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")


def test_a_scope_lists_nothing_twice() -> None:
    scope = Scope.of(["b/", "a", "ab"], ["abc", "b", "b/c", "c", "c"])
    assert (scope.prefixes, scope.collections) == (("a", "b/"), ("b", "c"))
    assert Scope.of(["", "x"], ["y"]) == Scope(("",), ())
    assert [scope.covers(name) for name in ("abc", "b/x", "b", "d")] == [True, True, True, False]
    few = [f"b/{n}" for n in range(FEW)]
    assert scope.narrowed(few) == Scope((), tuple(sorted(few)))
    assert scope.narrowed([*few, "b/more", "c"]) == Scope(("b/",), ("c",))
    many = [f"{place}/{n}" for place in ("b-", "b", "b0", "c") for n in range(FEW + 1)]
    assert Scope.of(["b/", "b", "c/", "\u00e9"], ()).narrowed(many) == Scope(("b", "c/"), ())
    assert Scope.of(["b-", "b/"], ()).narrowed(many) == Scope(
        ("b-", "b/"), tuple(sorted(name for name in many if name.startswith(("b0", "c"))))
    )


def result(outcome: Any, error: Any = None, **fields: Any) -> StreamResult:
    change = Change(
        kind="update", collection="c", name="n", uuid=UUID_, differences=(Difference("unit", "set", "", "V"),)
    )
    return StreamResult.of(change, outcome, error=error, **fields)


def test_failures_together_are_retryable_when_each_is() -> None:
    transient, lasting = RateLimitedError("slower"), StreamNotFoundError("gone")
    assert Applied(results=(result("updated"), result("unchanged"))).error() is None
    for results, retryable in (
        ([result("failed", transient)], True),
        ([result("failed", transient), result("updated")], True),
        ([result("failed", transient), result("failed", lasting)], False),
        ([result("failed", transient), result("stale")], False),
    ):
        error = Applied(results=tuple(results)).error()
        assert error is not None
        assert error.retryable is retryable
    unsure = Applied(results=(result("updated"),), verify_error=transient).error()
    assert unsure is not None
    assert (unsure.retryable, "reading it again failed: slower" in str(unsure)) == (True, True)


def test_the_lines_of_what_became_of_it() -> None:
    applied = Applied(
        results=(result("updated"), result("stale", detail="d"), result("failed", StreamNotFoundError("e")))
    )
    assert applied_text(applied).splitlines() == [
        "Applied: 1 updated, 1 stale, 1 failed.",
        "! c/n: stale: d",
        "! c/n: failed: e",
    ]
    rude = Applied(results=(result("stale", detail="\x1b[2J"),))
    assert applied_text(rude).endswith("! c/n: stale: \\x1b[2J")
    assert str(rude.error()).endswith("c/n is stale (\\x1b[2J)")
    assert applied_text(Applied(results=(), verified=True)) == "Applied: nothing to do, verified."
    assert applied.results[2].as_row() == {
        "collection": "c", "name": "n", "uuid": str(UUID_), "planned": "update", "outcome": "failed",
        "error": "StreamNotFoundError", "detail": "e",
    }  # fmt: skip
