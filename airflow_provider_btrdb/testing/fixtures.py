"""Pytest fixtures for users of the package. Import the ones you want into your conftest.py:

`from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401`
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from airflow_provider_btrdb.testing import RunningServer, devserver


@pytest.fixture(scope="session")
def btrdb_devserver() -> Iterator[RunningServer]:
    """One empty server for the whole session, without a key; give each test a collection of its own."""
    with devserver() as server:
        yield server
