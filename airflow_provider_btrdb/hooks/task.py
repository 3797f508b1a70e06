"""What every task that talks to BTrDB has: a connection id, and a hook that is made when the task runs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_btrdb.hooks.btrdb import BTrDBHook


class HasBTrDBHook:
    """Mixed into operators and sensors; parsing a DAG file never imports the hook's module."""

    btrdb_conn_id: str

    @cached_property
    def hook(self) -> BTrDBHook:
        """The hook for `btrdb_conn_id`."""
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        return BTrDBHook(self.btrdb_conn_id)
