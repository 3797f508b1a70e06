"""docs/reference leaves nothing public out. `make docs` checks that what it names is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb import audit, client, provision, report, testing
from airflow_provider_btrdb.get_provider_info import get_provider_info
from airflow_provider_btrdb.testing import faults

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NAMED = set(re.findall(r"^\.\. autoapi\w+:: (\S+)$", "".join(p.read_text() for p in REFERENCE.glob("*.rst")), re.M))
INFO: dict[str, Any] = get_provider_info()


@pytest.mark.parametrize(
    "package", [audit, client, provision, report, testing, faults], ids=lambda package: package.__name__
)
def test_every_name_that_a_package_offers(package: Any) -> None:
    """The asynchronous twins are described by the synchronous classes, and BTrDBError among the errors."""
    offered = {name for name in package.__all__ if not name.startswith("Async") and name != "BTrDBError"}
    assert {f"{package.__name__}.{name}" for name in offered} <= NAMED


def test_every_module_that_airflow_is_told_of() -> None:
    modules = {name for kind in ("operators", "sensors", "triggers") for name in INFO[kind][0]["python-modules"]}
    classes = {kind["hook-class-name"] for kind in INFO["connection-types"]}
    modules |= {name.rpartition(".")[0] for name in (*INFO["queues"], *INFO["notifications"])} | {
        "airflow_provider_btrdb.retries"
    }
    assert modules | classes | {INFO["asset-uris"][0]["factory"].rpartition(".")[0]} <= NAMED
    assert {f"{client.__name__}.errors", f"{client.__name__}.dbapi"} <= NAMED
