"""The PEP 249 connection that Airflow gets: it knows the columns of the one table without asking the server.

OpenLineage asks for them when an SQL task starts and again when it ends. A server that is away would hold the task as
long as calls are retried, and BTrDB need not answer such a question.
"""

from __future__ import annotations

from typing import Any

from airflow_provider_btrdb.client import dbapi
from airflow_provider_btrdb.hooks.sql import COLUMNS, COLUMNS_TABLE, TABLE

ROWS = [("public", TABLE, name, place, kind) for place, (name, kind) in enumerate(COLUMNS.items(), start=1)]
"""What OpenLineage selects of an information schema: schema, table, column, place, type."""


class ConnectionWithColumns(dbapi.Connection):
    """A connection as `dbapi` makes it, but for its cursors."""

    def _new_cursor(self) -> dbapi.Cursor:
        return CursorWithColumns(self)


class CursorWithColumns(dbapi.Cursor):
    """A cursor as `dbapi` makes it, but for the question after columns, whose answer is fetched by `fetchall`."""

    _answers = False

    def execute(self, operation: str, parameters: Any = None) -> dbapi.Cursor:
        """Run the statement at the server, unless it asks for columns."""
        self._answers = isinstance(operation, str) and COLUMNS_TABLE in operation
        return self if self._answers else super().execute(operation, parameters)

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return list(ROWS) if self._answers else super().fetchall()
