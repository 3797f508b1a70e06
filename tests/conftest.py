"""Two rules for all tests.

Airflow, in whatever test imports it, keeps its files in a folder of this run and sees no setting of the user's own.

A test may be skipped for one reason only: the machine lacks something. It says `needs ...`, and the run lists it. Any
other skip would be a test that silently does nothing, so it fails.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Generator

import pytest

PREFIX = "needs "

# Here and not in a fixture: Airflow reads them when it is imported, which test modules do at their top.
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: builds and installs the package from an index; CI runs it once")


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why the report's test or module was skipped; None when it was not, or when it is an expected failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    assert isinstance(report.longrepr, tuple)
    return report.longrepr[2].removeprefix("Skipped: ")


def refuse_silent_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = skip_reason(report)
    if reason is not None and not reason.startswith(PREFIX):
        report.outcome = "failed"
        report.longrepr = f"skipped with the reason {reason!r}: a skip names the missing capability, as 'needs ...'"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_silent_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_silent_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = Counter(skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if missing:
        terminalreporter.section("capabilities missing")
        for reason, count in sorted(missing.items()):
            terminalreporter.line(f"{count} skipped: {reason}")
