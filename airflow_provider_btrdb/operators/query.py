"""Operators that ask BTrDB's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from airflow_provider_btrdb._airflow import AirflowFailException, BaseOperator, Context, airflow_errors
from airflow_provider_btrdb.hooks.task import HasBTrDBHook


class BTrDBQueryOperator(HasBTrDBHook, BaseOperator):
    """Run an SQL SELECT on the table `streams` and return its rows as dictionaries.

    The table has the columns uuid, collection, name, unit, ingress, distiller, property_version and annotations
    (hstore: `annotations->'key'`). The dialect is PostgreSQL's.

    :param sql: the statement, or the path of a `.sql` file; parameters stand as $1, $2 ... (templated)
    :param parameters: values for $1, $2 ...; they travel as text. (templated)
    :param max_xcom_rows: more rows than this fail the task: XCom is no place for them.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: a list of dictionaries, one for each row, keyed by column name
    """

    template_fields: Sequence[str] = ("sql", "parameters", "btrdb_conn_id")
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {
        "sql": "sql",
        "parameters": "json",
    }
    ui_color = "#e4ecdf"

    def __init__(
        self,
        *,
        sql: str,
        parameters: Sequence[Any] = (),
        max_xcom_rows: int = 10_000,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.parameters = parameters
        self.max_xcom_rows = max_xcom_rows
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Run the statement."""
        rows: list[dict[str, Any]] = []
        with airflow_errors():
            for row in self.hook.get_client().query_iter(self.sql, self.parameters):
                if len(rows) == self.max_xcom_rows:
                    raise AirflowFailException(
                        f"the query returns more than max_xcom_rows={self.max_xcom_rows} rows: "
                        "narrow it, aggregate in SQL, or raise the limit"
                    )
                rows.append(row)
        self.log.info("%d rows", len(rows))
        return rows
