"""One check on its way to its result."""

from __future__ import annotations

from typing import Literal

from airflow_provider_btrdb.audit.findings import Findings
from airflow_provider_btrdb.audit.judging import judge
from airflow_provider_btrdb.audit.results import CheckResult, Outcome
from airflow_provider_btrdb.audit.storing import LastRun, compared
from airflow_provider_btrdb.audit.suites import Check

How = Literal["", "sql", "listing", "metadata", "points"]


class State:
    """A check, what it has found, and whether it is done."""

    def __init__(self, check: Check, findings: Findings) -> None:
        self.check = check
        self.findings = findings
        self.how: How = ""
        self.uncounted = False
        """Did SQL tell the failures, and not yet how many were looked at?"""
        self._checked: int | None = None
        self._ended: tuple[Outcome, str] | None = None

    @property
    def waits(self) -> bool:
        """Is there still something to find out?"""
        return not self.how and self._ended is None

    def count_one(self, _: object) -> None:
        """One more was looked at."""
        self._checked = (self._checked or 0) + 1

    def found(self, checked: int | None, how: How) -> None:
        """All that it looks at was looked at."""
        self._checked, self.how = checked, how

    def end(self, outcome: Literal["error", "skipped"], message: str) -> None:
        """It cannot be found out."""
        self._ended = outcome, message

    def result(self, last: LastRun | None) -> CheckResult:
        """What became of it."""
        check, findings = self.check, self.findings
        outcome, message = self._ended or self._judged()
        result = CheckResult(
            name=check.name,
            kind=check.kind,
            description=check.description,
            owner=check.owner,
            severity=check.severity,
            error_if=str(check.error_if) if check.severity == "error" else "",
            warn_if=str(check.warn_if),
            fields=check.rule.fields,
            outcome=outcome,
            message=message,
            unit=check.rule.unit,
            checked=self._checked,
            failed=findings.failed,
            hard=findings.hard,
            stored=findings.stored,
            sample=tuple(findings.sample),
            how=self.how,
        )
        return result.model_copy(update={"comparison": compared(result, findings, last)})

    def _judged(self) -> tuple[Outcome, str]:
        check, findings, checked = self.check, self.findings, self._checked
        unit = check.rule.unit
        if checked == 0 and not findings.failed:
            return "skipped", f"there are no {unit} to look at"
        outcome = judge(check, failed=findings.failed, hard=findings.hard, checked=checked)
        if checked is None:
            return outcome, f"{findings.failed or 'no'} {unit} are failures"
        if not findings.failed:
            return outcome, f"all {checked} {unit} pass"
        condition = f", and warn_if is {check.warn_if}" if outcome == "pass" else ""
        return outcome, f"{findings.failed} of {checked} {unit} fail{condition}"
