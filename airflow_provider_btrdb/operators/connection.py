"""Operators that look at the way to BTrDB."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

from airflow_provider_btrdb._airflow import BaseOperator, Context, failure
from airflow_provider_btrdb.hooks.task import HasBTrDBHook


class ConnectionCheckResult(TypedDict):
    """What `BTrDBConnectionCheckOperator` leaves in XCom."""

    endpoint: str
    """`host:port`"""
    version: str
    """Of the server, such as "5.30"."""
    build: str
    streams: int
    """How many this key may see."""
    all_counted: bool
    """False if there are more, and the time was up."""
    serves_sql: bool
    """To this key."""


class BTrDBConnectionCheckOperator(HasBTrDBHook, BaseOperator):
    """Check, from where tasks run, everything that a connection needs: name, port, TLS, key, version, SQL, streams.

    The log tells what each step found. The task fails with what is wrong; without retries where these cannot help, as
    with a refused key or certificate.

    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`ConnectionCheckResult`
    """

    template_fields: Sequence[str] = ("btrdb_conn_id",)
    ui_color = "#e8e8e8"

    def __init__(self, *, btrdb_conn_id: str = "btrdb_default", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> ConnectionCheckResult:
        """Look at one step after the other."""
        found = self.hook.diagnose()
        for step in found.steps:
            self.log.info("%s %s: %s", "ok  " if step.ok else "FAIL", step.name, step.text)
        if not found.ok:
            raise failure(found.sentence, retryable=found.retryable)
        return {
            "endpoint": found.endpoint,
            "version": str(found.version),
            "build": str(found.build),
            "streams": int(found.streams or 0),
            "all_counted": found.all_counted,
            "serves_sql": bool(found.serves_sql),
        }
