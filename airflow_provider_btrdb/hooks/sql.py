"""What BTrDB's SQL is to Airflow, where DbApiHook's own way does not fit: frames, the one table, nothing to insert."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_provider_btrdb._airflow import AirflowOptionalProviderFeatureException, Connection, airflow_errors
from airflow_provider_btrdb.hooks.settings import config_of

if TYPE_CHECKING:
    from airflow.providers.openlineage.sqlparser import DatabaseInfo

    from airflow_provider_btrdb.client.dbapi import Connection as SqlConnection
    from airflow_provider_btrdb.client.dbapi import Cursor

TABLE = "streams"
COLUMNS = {
    "uuid": "uuid",
    "collection": "text",
    "name": "text",
    "unit": "text",
    "ingress": "text",
    "distiller": "text",
    "property_version": "bigint",
    "annotations": "hstore",
}
"""The one table of BTrDB's SQL: its columns and their PostgreSQL types."""

COLUMNS_TABLE = "airflow_provider_btrdb.columns"
"""A name that no server knows, where OpenLineage expects the columns of tables: see `hooks/columns.py`."""


class StreamsSql:
    """Mixed into BTrDBHook before DbApiHook."""

    if TYPE_CHECKING:

        def get_conn(self) -> SqlConnection:
            """The connection that statements run on."""

    @contextmanager
    def _executed(self, sql: str, parameters: Any) -> Iterator[Cursor]:
        with closing(self.get_conn()) as connection:
            yield connection.cursor().execute(sql, parameters)

    def _get_pandas_df(self, sql: str, parameters: Any = None, **kwargs: Any) -> Any:
        from airflow_provider_btrdb.client import frames

        with self._executed(sql, parameters) as cursor:
            return frames.pandas_frame(cursor.fetchall(), frames.names(cursor), **kwargs)

    def _get_polars_df(self, sql: str, parameters: Any = None, **kwargs: Any) -> Any:
        from airflow_provider_btrdb.client import frames

        with self._executed(sql, parameters) as cursor:
            return frames.polars_frame(cursor.fetchall(), frames.names(cursor), **kwargs)

    def _get_pandas_df_by_chunks(
        self, sql: str, parameters: Any = None, *, chunksize: int, **kwargs: Any
    ) -> Iterator[Any]:
        from airflow_provider_btrdb.client import frames

        with self._executed(sql, parameters) as cursor:
            for rows in frames.chunks(cursor, chunksize):
                yield frames.pandas_frame(rows, frames.names(cursor), **kwargs)

    def _get_polars_df_by_chunks(
        self, sql: str, parameters: Any = None, *, chunksize: int, **kwargs: Any
    ) -> Iterator[Any]:
        from airflow_provider_btrdb.client import frames

        with self._executed(sql, parameters) as cursor:
            for rows in frames.chunks(cursor, chunksize):
                yield frames.polars_frame(rows, frames.names(cursor), **kwargs)

    def insert_rows(self, *_: Any, **__: Any) -> NoReturn:
        """Always NotImplementedError: BTrDB's SQL only reads."""
        raise NotImplementedError(
            "BTrDB's SQL only reads: create streams with CreateStreamOperator or the hook's create_many, and write "
            "points with BTrDBInsertOperator or the client's insert_many"
        )

    def get_table_schema(self, table_name: str, schema: str | None = None) -> list[dict[str, str]]:
        """The columns of `streams`, without asking the server. Raises ValueError for another table."""
        if table_name != TABLE or schema not in (None, "public"):
            raise ValueError(f"BTrDB's SQL has one table, {TABLE!r}, and no {table_name!r}")
        return [{"name": name, "type": kind} for name, kind in COLUMNS.items()]

    def get_sqlalchemy_engine(self, engine_kwargs: Any = None) -> None:
        """None: there is no SQLAlchemy dialect for BTrDB. Airflow's SQL operators ask for one and do not need it."""

    @property
    def inspector(self) -> NoReturn:
        """Always AirflowOptionalProviderFeatureException; `get_table_schema` has what an inspector would tell."""
        raise AirflowOptionalProviderFeatureException(
            "there is no SQLAlchemy dialect for BTrDB: get_table_schema('streams') tells the columns"
        )

    # ------------------------------------------------------------ OpenLineage

    def get_openlineage_database_info(self, connection: Connection) -> DatabaseInfo:
        """Datasets are called `btrdb://host:port` / `metadata.public.streams`."""
        from airflow.providers.openlineage.sqlparser import DatabaseInfo

        with airflow_errors():
            endpoint = config_of(connection, connection.extra_dejson).endpoint
        # Airflow's SQL operators then ask for the columns through `get_conn`, which answers that by itself.
        return DatabaseInfo(
            scheme="btrdb", authority=endpoint, database="metadata", information_schema_table_name=COLUMNS_TABLE
        )

    def get_openlineage_database_dialect(self, connection: Connection) -> str:
        """How OpenLineage reads the SQL."""
        return "postgres"

    def get_openlineage_default_schema(self) -> str:
        """Where PostgreSQL keeps the table."""
        return "public"
