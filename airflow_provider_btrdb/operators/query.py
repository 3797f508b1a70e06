"""Operators that ask BTrDB's metadata with SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict
from uuid import uuid4

from airflow_provider_btrdb._airflow import AirflowFailException, BaseOperator, Context, airflow_errors
from airflow_provider_btrdb.hooks.task import HasBTrDBHook

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO


class QueryFileResult(TypedDict):
    """What `BTrDBQueryOperator` leaves in XCom when it has an `output_path`."""

    path: str
    format: str
    """parquet, csv or jsonl"""
    rows: int
    bytes: int


class BTrDBQueryOperator(HasBTrDBHook, BaseOperator):
    """Run an SQL SELECT on the table `streams`; its rows go to XCom as dictionaries, or into a file.

    The table has the columns uuid, collection, name, unit, ingress, distiller, property_version and annotations
    (hstore: `annotations->'key'`). The dialect is PostgreSQL's.

    A file is written in batches, in bounded memory, under a temporary name beside it and moved into place when it is
    whole: whoever reads it sees the old one or the new one. Mappings, as annotations are, become JSON text in csv and
    parquet; the first 10,000 rows decide the types of parquet columns. Parquet needs the extra `arrow`.

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
        with _whole_file(path, self.output_conn_id) as (file, size):
            rows = write_rows(self._rows(), file, kind)
        self.log.info("%d rows, %d bytes in %s", rows, size[0], path)
        return {"path": path, "format": kind, "rows": rows, "bytes": size[0]}


@contextmanager
def _whole_file(path: str, conn_id: str | None) -> Iterator[tuple[IO[bytes], list[int]]]:
    """A file that appears under its name only when the block ends well; its size is in the list then.

    fsspec commits what was written whenever a file is closed, also after an error, hence the temporary name.
    """
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    # A plain path, since ObjectStoragePath of Airflow 2.11 does not get along with file:// of newer universal_pathlib.
    target = ObjectStoragePath(path.removeprefix("file://"), conn_id=conn_id)
    # Through the file system below, because ObjectStoragePath reports every path it writes as lineage.
    storage = target.fs
    temporary = str(target.parent.path).rstrip("/") + f"/.{target.name}.{uuid4().hex}.part"
    if target.protocol in ("", "file"):
        storage.makedirs(target.parent.path, exist_ok=True)
    size: list[int] = []
    try:
        with storage.open(temporary, "wb") as file:
            yield file, size
        size.append(storage.size(temporary))
        storage.mv(temporary, target.path)
    except BaseException:
        with suppress(FileNotFoundError):
            storage.rm(temporary)
        raise
