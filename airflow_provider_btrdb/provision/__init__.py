"""Provisioning as a plan: say which streams should be there, see the difference, apply it.

Pure values and decisions, apart from the loops in `planning` and `execution`, which run on a connection::

    spec = read_spec("streams.yaml")
    with connect("localhost:4410") as db:
        plan = db.run(make_plan(spec))
        print(plan_text(plan))
        applied = db.run(apply_plan(plan))
"""

from __future__ import annotations

from airflow_provider_btrdb.catalog.shards import shard_of
from airflow_provider_btrdb.documents.faults import Fault
from airflow_provider_btrdb.provision.execution import apply_plan
from airflow_provider_btrdb.provision.importing import import_spec
from airflow_provider_btrdb.provision.planfile import load_plan, plan_bytes, sha256_of
from airflow_provider_btrdb.provision.planning import make_plan
from airflow_provider_btrdb.provision.plans import Change, Difference, Plan, Unmanaged
from airflow_provider_btrdb.provision.printing import print_spec
from airflow_provider_btrdb.provision.reading import format_of, parse_spec, read_defaults, read_spec, spec_from_rows
from airflow_provider_btrdb.provision.results import Applied, ProvisionError, StreamResult
from airflow_provider_btrdb.provision.specs import Spec, SpecError, WantedStream
from airflow_provider_btrdb.provision.wording import applied_text, plan_text, summary

__all__ = [
    "Applied",
    "Change",
    "Difference",
    "Fault",
    "Plan",
    "ProvisionError",
    "Spec",
    "SpecError",
    "StreamResult",
    "Unmanaged",
    "WantedStream",
    "applied_text",
    "apply_plan",
    "format_of",
    "import_spec",
    "load_plan",
    "make_plan",
    "parse_spec",
    "plan_bytes",
    "plan_text",
    "print_spec",
    "read_defaults",
    "read_spec",
    "sha256_of",
    "shard_of",
    "spec_from_rows",
    "summary",
]
