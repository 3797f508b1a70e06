"""Operators that ask BTrDB's metadata with SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import AirflowFailException, BaseOperator, Context, airflow_errors
from airflow_provider_btrdb.hooks.facets import TellsLineage, of_collection, of_file
from airflow_provider_btrdb.operators.storage import whole_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_provider_btrdb.hooks.facets import Dataset


class QueryFileResult(TypedDict):
    """What `BTrDBQueryOperator` leaves in XCom when it has an `output_path`."""

    path: str
    format: str
    """parquet, csv or jsonl"""
    rows: int
    bytes: int


class BTrDBQueryOperator(TellsLineage, BaseOperator):
    """Run an SQL SELECT on the table `streams`; its rows go to XCom as dictionaries, or into a file.

    The table has the columns uuid, collection, name, unit, ingress, distiller, property_version and annotations
    (hstore: `annotations->'key'`). The dialect is PostgreSQL's.

    A file is written in batches, in bounded memory, under a temporary name beside it and moved into place when it is
    whole: whoever reads it sees the old one or the new one. Mappings, as annotations are, become JSON text in csv and
    parquet; the first 10,000 rows decide the types of parquet columns. Parquet needs the extra `arrow`.

    As in all of Airflow's SQL operators, text that ends in `.sql` is the path of a file in whatever templated argument
    it stands: a parameter with such a value goes into Airflow's `literal(...)`.

    :param sql: the statement, or the path of a `.sql` file; parameters stand as $1, $2 ... (templated)
    :param parameters: values for $1, $2 ...; they travel as text. (templated)
    :param output_path: where to write the rows: a path or URL (`s3://...`) that ends in .parquet, .csv or .jsonl; XCom
        then holds the path and counts. (templated)
    :param output_conn_id: the Airflow connection of the object storage. (templated)
    :param max_xcom_rows: without `output_path`, more rows than this fail the task: XCom is no place for them.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: a list of dictionaries, one for each row, keyed by column name; with `output_path`
        :class:`QueryFileResult`
    """

    template_fields: Sequence[str] = ("sql", "parameters", "output_path", "output_conn_id", "btrdb_conn_id")
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
        output_path: str | None = None,
        output_conn_id: str | None = None,
        max_xcom_rows: int = 10_000,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.parameters = parameters
        self.output_path = output_path
        self.output_conn_id = output_conn_id
        self.max_xcom_rows = max_xcom_rows
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]] | QueryFileResult:
        """Run the statement."""
        with airflow_errors():
            if self.output_path:
                return self._write(self.output_path)
            rows = self._collect(self._rows())
        self._tell(len(rows))
        self.log.info("%d rows", len(rows))
        return rows

    def _rows(self) -> Iterator[dict[str, Any]]:
        return self.hook.get_client().query_iter(self.sql, self.parameters)

    def _collect(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        collected: list[dict[str, Any]] = []
        for row in rows:
            if len(collected) == self.max_xcom_rows:
                raise AirflowFailException(
                    f"the query returns more than max_xcom_rows={self.max_xcom_rows} rows: narrow it, aggregate in "
                    "SQL, write the rows to an output_path, or raise the limit"
                )
            collected.append(row)
        return collected

    def _write(self, path: str) -> QueryFileResult:
        from airflow_provider_btrdb.extract.rows import format_of, write_rows

        kind = format_of(path)
        with whole_file(path, self.output_conn_id) as (file, size):
            rows = write_rows(self._rows(), file, kind)
        self._tell(rows, of_file(path, rows=rows, size=size[0]))
        self.log.info("%d rows, %d bytes in %s", rows, size[0], path)
        return {"path": path, "format": kind, "rows": rows, "bytes": size[0]}

    def _tell(self, rows: int, *written: Dataset) -> None:
        from airflow.providers.common.sql.hooks.lineage import send_sql_hook_lineage

        table = of_collection(self.hook.get_client().config.endpoint, "")
        self.tell(inputs=[table], outputs=written, sql=self.sql)
        send_sql_hook_lineage(context=self.hook, sql=self.sql, sql_parameters=list(self.parameters), row_count=rows)
