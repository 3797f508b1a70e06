"""Judging what is in BTrDB: a suite of checks, made in one go, and a result that says what breaks which of them.

::

    suite = read_suite("suite.yaml")
    with connect("localhost:4410") as db:
        audit = db.run(run_suite(suite))
        print(run_text(audit.result))
"""

from __future__ import annotations

from airflow_provider_btrdb.audit.judging import judge, judge_coverage
from airflow_provider_btrdb.audit.news import AuditMessage
from airflow_provider_btrdb.audit.proposing import propose_suite
from airflow_provider_btrdb.audit.reading import parse_suite, read_suite
from airflow_provider_btrdb.audit.results import (
    AuditError,
    CheckResult,
    Comparison,
    Coverage,
    Failure,
    Place,
    RunResult,
    summary,
)
from airflow_provider_btrdb.audit.running import run_suite
from airflow_provider_btrdb.audit.storing import Audit, LastRun, load, load_last, runs, store
from airflow_provider_btrdb.audit.suites import Check, Suite, SuiteError
from airflow_provider_btrdb.audit.wording import run_text
from airflow_provider_btrdb.documents.faults import Fault

__all__ = [
    "Audit",
    "AuditError",
    "AuditMessage",
    "Check",
    "CheckResult",
    "Comparison",
    "Coverage",
    "Failure",
    "Fault",
    "LastRun",
    "Place",
    "RunResult",
    "Suite",
    "SuiteError",
    "judge",
    "judge_coverage",
    "load",
    "load_last",
    "parse_suite",
    "propose_suite",
    "read_suite",
    "run_suite",
    "run_text",
    "runs",
    "store",
    "summary",
]
