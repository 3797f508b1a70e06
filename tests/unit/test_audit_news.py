"""What people are told of a run: what changed since they were told last, by owner, without values of points."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.audit import AuditMessage, CheckResult, Coverage, RunResult
from airflow_provider_btrdb.audit.news import Told, news, told_from
from airflow_provider_btrdb.client.errors import InputError

NEVER = timedelta(0)


class Nights:
    """Runs, one each hour, and what is told of each."""

    def __init__(self, folder: Path, quiet: timedelta) -> None:
        self._folder, self._quiet, self._hour = folder, quiet, 0
        self.told = Told()

    def set_back(self, *, hours: int) -> None:
        """The clock."""
        self._hour -= hours

    def run(self, *checks: dict[str, Any], seen: str = "pass", shard: Any = None) -> AuditMessage | None:
        began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=self._hour)
        self._hour += 1
        results, lines = [], []
        for check in checks:
            result, found = made(**check)
            results.append(result)
            lines += found
        run = RunResult(
            run_id=f"{began:%Y%m%dT%H%M%SZ}",
            suite="grid",
            began=f"{began:%Y-%m-%dT%H:%M:%SZ}",
            seconds=1.0,
            sql=True,
            shard=shard,
            coverage=Coverage(outcome=seen, message=f"seen {seen}", collections=1, streams=9),
            checks=tuple(results),
        )
        place = self._folder / run.run_id
        place.mkdir()
        (place / "run.json").write_text(run.model_dump_json())
        (place / "failures.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        message, told = news(run, place, self.told, self._quiet, f"s3://runs/{run.run_id}")
        self.told = told_from(told.model_dump_json().encode())
        assert self.told == told
        return message


def made(
    name: str, ids: Sequence[int] = (), *, outcome: str | None = None, owner: str = "", **more: Any
) -> tuple[CheckResult, list[dict[str, Any]]]:
    """A check whose failures have these numbers, and the lines of its failures."""
    outcome = outcome or ("fail" if ids else "pass")
    failed = more.pop("failed", len(ids))
    result = CheckResult(
        name=name,
        kind="required",
        owner=owner,
        outcome=outcome,
        message=f"{failed} of 9 streams fail" if failed else "all 9 streams pass",
        failed=failed,
        stored=len(ids),
        **more,
    )
    lines = [{"check": name, "id": f"{n:016x}", "message": f"lacks {n}", "collection": f"c{n}"} for n in ids]
    return result, lines


def check(name: str, ids: Sequence[int] = (), **more: Any) -> dict[str, Any]:
    return {"name": name, "ids": ids, **more}


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path, NEVER)


@pytest.fixture
def quiet_nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path, timedelta(hours=3))


def lines(message: AuditMessage | None) -> list[str]:
    """Of all owners together."""
    return "\n".join(message.by_owner.values()).splitlines() if message is not None else []


def test_what_passes_from_the_beginning_is_no_news(nights: Nights) -> None:
    assert nights.run(check("a")) is None
    assert nights.told == Told()


def test_new_and_resolved_failures_are_told_once(nights: Nights) -> None:
    assert lines(nights.run(check("a", [1, 2]))) == [
        "FAIL    a: 2 of 9 streams fail (2 new, 0 resolved)", "    c1: lacks 1", "    c2: lacks 2",
    ]  # fmt: skip
    assert nights.run(check("a", [1, 2])) is None
    assert lines(nights.run(check("a", [2, 3]))) == [
        "FAIL    a: 2 of 9 streams fail (1 new, 1 resolved)", "    c3: lacks 3",
    ]  # fmt: skip
    assert lines(nights.run(check("a"))) == ["PASS    a: all 9 streams pass (2 resolved)"]
    assert nights.run(check("a")) is None


def test_the_first_new_failures_are_shown_and_the_others_counted(nights: Nights) -> None:
    told = lines(nights.run(check("a", range(9))))
    assert told[1:] == [*(f"    c{n}: lacks {n}" for n in range(5)), "    ... and 4 more"]


def test_a_message_has_its_subject_its_owners_and_the_run(nights: Nights) -> None:
    message = nights.run(
        check("a", [1], owner="grid"), check("b", [2]), check("c", [3], owner="grid"), check("d", owner="d"),
        seen="error", shard=(1, 4),
    )  # fmt: skip
    assert message is not None
    assert message.subject == "Audit grid: error (3 fail, 1 pass)."
    assert message.path == "s3://runs/20260101T000000Z"
    assert message.text.split("\n\n") == [
        "Audit grid: error (3 fail, 1 pass). Shard 1 of 4.",
        message.by_owner[""],
        f"grid\n{message.by_owner['grid']}",
        "The run is in s3://runs/20260101T000000Z",
    ]
    assert list(message.by_owner) == ["", "grid"]
    assert [line[:10] for line in message.by_owner[""].splitlines()] == ["ERROR   co", "FAIL    b:", "    c2: la"]
    assert [line[:10] for line in message.by_owner["grid"].splitlines()[::2]] == ["FAIL    a:", "FAIL    c:"]


def test_a_drop_in_coverage_is_told_and_its_end(nights: Nights) -> None:
    assert lines(nights.run(check("a"), seen="error")) == ["ERROR   coverage: seen error"]
    assert nights.run(check("a"), seen="error") is None
    assert lines(nights.run(check("a"))) == ["PASS    coverage: seen pass"]


def test_a_check_that_cannot_run_is_compared_with_what_was_known_before(nights: Nights) -> None:
    nights.run(check("a", [1]))
    assert len(lines(nights.run(check("a", outcome="error")))) == 1
    assert nights.run(check("a", outcome="error")) is None
    assert lines(nights.run(check("a", [1]))) == ["FAIL    a: 1 of 9 streams fail (0 new, 0 resolved)"]
    nights.run(check("a", outcome="error"))
    assert lines(nights.run(check("a", [1, 2])))[0].endswith("(1 new, 0 resolved)")


def test_a_check_that_is_skipped_stays_as_it_was_told(nights: Nights) -> None:
    nights.run(check("a", [1]))
    assert nights.run(check("a", outcome="skipped")) is None
    assert nights.run(check("a", [1])) is None


def test_a_check_that_only_warns_is_told_when_it_no_longer_fails(nights: Nights) -> None:
    assert nights.run(check("a", [1, 2], outcome="warn")) is None
    nights.run(check("a", [1, 2, 3]))
    assert lines(nights.run(check("a", [1, 2], outcome="warn"))) == ["WARN    a: 2 of 9 streams fail (1 resolved)"]
    assert nights.run(check("a", [1], outcome="warn")) is None


def test_a_check_that_is_gone_is_forgotten(nights: Nights) -> None:
    nights.run(check("a", [1]))
    assert nights.run(check("b")) is None
    assert len(lines(nights.run(check("a", [1])))) == 2


def test_of_more_failures_than_are_stored_the_number_is_compared(nights: Nights) -> None:
    assert lines(nights.run(check("a", range(2), failed=900)))[-1] == "    ... and 898 more"
    assert nights.run(check("a", range(3, 5), failed=900)) is None
    assert lines(nights.run(check("a", range(2), failed=903)))[0].endswith("(3 new, 0 resolved)")
    assert lines(nights.run(check("a", range(2), failed=2)))[0].endswith("(0 new, 901 resolved)")


def test_while_a_check_is_quiet_nothing_of_it_is_told_and_nothing_is_lost(quiet_nights: Nights) -> None:
    run = quiet_nights.run
    run(check("a", [1]))
    assert run(check("a", [1, 2])) is None
    assert lines(run(check("a"), check("b", [5])))[0].startswith("FAIL    b")
    assert lines(run(check("a", [1, 3]), check("b"))) == [
        "FAIL    a: 2 of 9 streams fail (1 new, 0 resolved)", "    c3: lacks 3",
    ]  # fmt: skip
    assert run(check("a", [1, 3]), check("b")) is None
    assert lines(run(check("a", [1, 3]), check("b"))) == ["PASS    b: all 9 streams pass (1 resolved)"]


def test_what_breaks_and_is_mended_while_it_is_quiet_is_never_told(quiet_nights: Nights) -> None:
    assert quiet_nights.run(check("a", [1])) is not None
    for ids in ([1, 2], [], [1], [1], [1]):
        assert quiet_nights.run(check("a", ids)) is None


def test_a_clock_that_was_wrong_makes_nobody_quiet(nights: Nights) -> None:
    nights.run(check("a", [1]))
    nights.set_back(hours=100)
    assert lines(nights.run(check("a", [1, 2])))[0].endswith("(1 new, 0 resolved)")
    assert nights.told.checks["a"].at < "2026"


def test_values_of_points_are_not_told(nights: Nights) -> None:
    assert lines(nights.run(check("a", [1], how="points"), check("b", [2], how="sql")))[1::2] == [
        "    c1", "    c2: lacks 2",
    ]  # fmt: skip


def test_names_of_others_are_no_commands_to_a_terminal(nights: Nights) -> None:
    message = nights.run(check("a\x1b[2J", [1], owner="o\x1b[2J\nx"))
    assert message is not None
    assert "\x1b" not in message.text + message.subject + "".join(message.by_owner.values())


@pytest.mark.parametrize("data", [b"", b"{", b'{"format": 2}', b'{"checks": {"a": {"ids": 1}}}'])
def test_a_file_of_another_version_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="what was told"):
        told_from(data)
