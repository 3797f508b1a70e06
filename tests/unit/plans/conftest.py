"""Rows and stored streams in short, and the plan that is made of them."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from airflow_provider_btrdb.catalog.streams import StoredStream, sorted_annotations
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import (
    Change,
    Plan,
    spec_from_rows,
)
from airflow_provider_btrdb.provision.compare import compare


def stored_stream(
    collection: str = "c", name: str = "n", uuid: UUID | None = None, version: int = 3, **tags: Any
) -> StoredStream:
    uuid = uuid or derived_uuid(collection, name)
    notes = sorted_annotations(tags.pop("annotations", {}))
    ingress, distiller = tags.get("ingress", ""), tags.get("distiller", "")
    return StoredStream(uuid.bytes, collection, name, tags.get("unit", ""), ingress, distiller, notes, version)


def plan_of(rows: list[dict[str, Any]], *there: StoredStream, prefixes: tuple[str, ...] = (), **options: Any) -> Plan:
    snapshot = {stream.uuid: stream for stream in there}
    return compare(spec_from_rows(rows, prefixes=prefixes), snapshot, **options)


def row_of(**fields: Any) -> dict[str, Any]:
    return {"collection": "c", "name": "n", **fields}


def only_change(plan: Plan) -> Change:
    (change,) = plan.changes
    return change


@pytest.fixture
def stored() -> Any:
    """`stored("c", "n", unit="V", annotations={...})`: a stream as the catalogue has it."""
    return stored_stream


@pytest.fixture
def planned() -> Any:
    """`planned(rows, *stored streams, prefixes=(...), prune=True)`: the plan."""
    return plan_of


@pytest.fixture
def row() -> Any:
    """`row(unit="V")`: a row of a specification."""
    return row_of


@pytest.fixture
def only() -> Any:
    """`only(plan)`: the one change of a plan."""
    return only_change
