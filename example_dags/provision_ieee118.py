"""1,534 phasor streams as a specification says them: plan, approve what would be destroyed, apply, audit.

Needs the connection `btrdb_default`, and Airflow 3.1 for the approval; before, nothing is destroyed. Manages everything
below `provision/ieee118/`; running it again repairs what was changed meanwhile, and destroys streams that the
specification does not have once somebody approves it in Airflow ("Required Actions").
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

# Airflow 3 alone: from airflow.sdk import dag, task
from airflow.providers.common.compat.sdk import AirflowOptionalProviderFeatureException, dag, task

from airflow_provider_btrdb.operators.audit import BTrDBMetadataCheckOperator
from airflow_provider_btrdb.operators.provision import (
    BTrDBApplyOperator,
    BTrDBPlanOperator,
    ProvisionStreamsOperator,
)

try:
    from airflow.providers.standard.operators.hitl import ApprovalOperator
except (ImportError, AirflowOptionalProviderFeatureException):
    ApprovalOperator = None

SPEC = Path(__file__).parent / "data" / "ieee118" / "streams.yaml"
PREFIX = "provision/ieee118/"
PLANS = os.environ.get("BTRDB_PLANS", str(Path(tempfile.gettempdir()) / "btrdb_plans"))
"""With workers on several machines: s3://..."""


@dag(schedule=None, tags=["btrdb"])
def provision_ieee118() -> None:
    plan = BTrDBPlanOperator(
        task_id="plan",
        spec=str(SPEC),
        spec_params={"prefix": PREFIX},
        output_path=PLANS,
        prune=ApprovalOperator is not None,
    )

    @task.branch
    def who_decides(planned: dict[str, Any]) -> str:
        return "approve" if planned["verdict"] == "destructive" else "apply"

    apply = BTrDBApplyOperator(
        task_id="apply",
        plan=plan.output,
        prune=True,
        max_destroy=5,
        trigger_rule="none_failed_min_one_success",
    )

    audit = BTrDBMetadataCheckOperator(
        task_id="audit",
        collection=PREFIX,
        tags={"unit": {"present": True, "one_of": ["volts", "amps", "deg", "Hz"]}, "name": {"unique": True}},
        annotations={
            "bus": {"pattern": r"\d+"},
            "base_kv": {"one_of": ["138", "161", "345"]},
            "phase": {"present": True},
        },
        min_streams=1534,
    )

    drift = ProvisionStreamsOperator(
        task_id="drift_report",
        spec=str(SPEC),
        spec_params={"prefix": PREFIX},
        output_path=PLANS,
        plan_only=True,
    )

    @task
    def check(drifted: dict[str, Any]) -> None:
        assert drifted["plan"]["verdict"] == "empty", drifted["plan"]["summary"]

    decided = who_decides(plan.output)
    decided >> apply >> [audit, drift]
    check(drift.output)
    if ApprovalOperator is not None:
        approve = ApprovalOperator(
            task_id="approve",
            subject="Streams would be destroyed",
            body="{{ ti.xcom_pull(task_ids='plan')['summary'] }} See {{ ti.xcom_pull(task_ids='plan')['page'] }}",
        )
        decided >> approve >> apply


provisioning = provision_ieee118()

if __name__ == "__main__":
    raise SystemExit(provisioning.test().state != "success")
