"""What failures amount to: pure decisions, each about one check or about coverage."""

from __future__ import annotations

from airflow_provider_btrdb.audit.results import Coverage, Outcome
from airflow_provider_btrdb.audit.suites import Check, Suite


def judge(check: Check, *, failed: int, hard: int, checked: int | None) -> Outcome:
    """`fail` where `error_if` holds for the failures that are no mere warnings, else `warn` where `warn_if` holds."""
    if check.severity == "error" and check.error_if.holds(hard, checked):
        return "fail"
    return "warn" if check.warn_if.holds(failed, checked) else "pass"


def judge_coverage(
    suite: Suite, collections: dict[str, int], last: Coverage | None, lost: list[str], *, unseen: str = ""
) -> Coverage:
    """Too little, or less than before, is an error: what a key may not read is missing without a word.

    Compared is the last run that did not drop, so that a drop is told until somebody accepts it. `unseen` is why
    nobody could look.
    """
    streams, count = sum(collections.values()), len(collections)
    before = {
        "streams": None if last is None else last.baseline_streams,
        "collections": None if last is None else last.baseline_collections,
    }
    now = {"streams": streams, "collections": count}
    expected = {"streams": suite.expect_streams, "collections": suite.expect_collections}
    said, dropped = [unseen] if unseen else [], bool(unseen)
    for what, seen in now.items() if not unseen else ():
        wanted, earlier = expected[what], before[what]
        if wanted is not None and seen < wanted:
            said.append(f"{seen} {what} are seen, at least {wanted} are expected")
        if earlier is not None and seen < earlier:
            allowed = suite.allow_drop
            if allowed is None or allowed.holds(earlier - seen, earlier):
                dropped = True
                said.append(f"{seen} {what} are seen, {earlier} were before")
    if not count and not said:
        said.append("nothing is seen: there is nothing, or this key may not read it")
    return Coverage(
        outcome="error" if said else "pass",
        message="; ".join(said) or f"{streams} streams in {count} collections are seen",
        collections=count,
        streams=streams,
        before_collections=before["collections"],
        before_streams=before["streams"],
        baseline_collections=before["collections"] if dropped else count,
        baseline_streams=before["streams"] if dropped else streams,
        expected_collections=suite.expect_collections,
        expected_streams=suite.expect_streams,
        lost=tuple(lost[:20]),
        lost_count=len(lost),
    )
