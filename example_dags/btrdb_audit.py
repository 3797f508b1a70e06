"""A nightly audit of 1,534 phasor streams: warnings are in the log, errors fail the task, people hear what changed.

Needs the connection `btrdb_default` and the streams that `btrdb_quickstart` makes, faults included: the first run
fails because of them. After streams were removed on purpose, trigger it with `accept_drop` true.
"""

from __future__ import annotations

import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

# Airflow 3 alone: from airflow.sdk import dag
from airflow.providers.common.compat.sdk import dag

from airflow_provider_btrdb.notifications.audit import BTrDBAuditNotifier
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator

if TYPE_CHECKING:
    from airflow_provider_btrdb.audit import AuditMessage

SUITE = Path(__file__).parent / "ieee118_suite.yaml"
RUNS = os.environ.get("BTRDB_AUDITS", str(Path(tempfile.gettempdir()) / "btrdb_audits"))
"""With workers on several machines: s3://..."""


def tell(message: AuditMessage) -> None:
    for owner, lines in message.by_owner.items():
        print(f"To {owner or 'everybody'}: {message.subject}\n{lines}")


notifier = BTrDBAuditNotifier(to=tell, quiet=timedelta(hours=12))


@dag(
    schedule="0 3 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={"accept_drop": False},
    tags=["btrdb"],
)
def btrdb_audit() -> None:
    BTrDBAuditOperator(
        task_id="nightly_audit",
        suite=str(SUITE),
        output_path=RUNS,
        accept_drop="{{ params.accept_drop }}",
        on_failure_callback=notifier,
        on_success_callback=notifier,
    )


auditing = btrdb_audit()

if __name__ == "__main__":
    raise SystemExit(auditing.test().state != "success")
