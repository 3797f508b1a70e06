"""The tables, their history as steps, and what the role of SQLQuery may touch.

A step, once released, is never edited: a change is a new step. Points are kept as versioned chunks: a chunk holds the
points of one stretch of time as they were from version `vfrom` until before version `vto`; the chunks of one version
never overlap, so that a read at any version is a filter without a merge.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import psycopg
from psycopg import sql

from airflow_provider_btrdb.devserver.errors import DevServerError

LIVE = (1 << 63) - 1
"""`vto` of a chunk that nothing has replaced yet."""
FIRST_VERSION = 10
"""The version of a fresh stream, as the v4 and v5 servers count."""

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE btrdb.stream (
        sid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        uuid uuid NOT NULL CONSTRAINT stream_uuid UNIQUE,
        collection varchar(256) NOT NULL,
        name varchar(256) NOT NULL,
        unit varchar(256) NOT NULL,
        ingress varchar(256) NOT NULL,
        distiller varchar(256) NOT NULL,
        annotations public.hstore NOT NULL,
        property_version bigint NOT NULL DEFAULT 1,
        version bigint NOT NULL DEFAULT 10,
        CONSTRAINT stream_tags UNIQUE (collection, name, unit, ingress, distiller)
    );
    CREATE INDEX stream_order ON btrdb.stream (collection, name, uuid);
    CREATE INDEX stream_annotations ON btrdb.stream USING gin (annotations);
    CREATE TABLE btrdb.tombstone (uuid uuid PRIMARY KEY);
    CREATE TABLE btrdb.op (
        sid bigint NOT NULL REFERENCES btrdb.stream ON DELETE CASCADE,
        version bigint NOT NULL,
        los bigint[] NOT NULL,
        his bigint[] NOT NULL,
        PRIMARY KEY (sid, version)
    );
    CREATE TABLE btrdb.chunk (
        cid bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sid bigint NOT NULL REFERENCES btrdb.stream ON DELETE CASCADE,
        tmin bigint NOT NULL,
        tmax bigint NOT NULL,
        n integer NOT NULL,
        vfrom bigint NOT NULL,
        vto bigint NOT NULL,
        data bytea NOT NULL
    );
    ALTER TABLE btrdb.chunk ALTER COLUMN data SET STORAGE EXTERNAL;
    CREATE INDEX chunk_live ON btrdb.chunk (sid, tmin) WHERE vto = 9223372036854775807;
    CREATE INDEX chunk_old ON btrdb.chunk (sid, vto);
    CREATE VIEW public.streams AS
        SELECT uuid, collection, name, unit, ingress, distiller, property_version, annotations FROM btrdb.stream;
    """,
)

OLDEST = 14_00_00
"""The first PostgreSQL with multiranges."""
ONE_SERVER = 0x62747264
"""The advisory lock of the database: one server at a time, because versions are counted in its memory."""

# Functions that change something outside a transaction, wait, or run SQL of their own out of sight of the wrapper.
FORBIDDEN_FUNCTIONS = (
    r"^(pg_sleep.*|pg_terminate_backend|pg_cancel_backend|pg_notify|pg_.*advisory.*|lo_.*|loread|lowrite|set_config"
    r"|query_to_xml.*|cursor_to_xml.*|table_to_xml.*|schema_to_xml.*|database_to_xml.*|ts_stat|ts_rewrite"
    r"|pg_export_snapshot|pg_logical_emit_message)$"
)


def prepare(dsn: str, steps: Sequence[str] = STEPS) -> None:
    """Bring the schema up to date; one sentence if the database is not ours to use."""
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        if connection.info.server_version < OLDEST:
            raise DevServerError(f"PostgreSQL {OLDEST // 10000} or newer is needed")
        if not connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone() == (True,):
            raise DevServerError(
                "the user of --dsn must be a superuser: the server makes a role of its own for SQLQuery and closes "
                "functions to it"
            )
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS hstore SCHEMA public")
        except psycopg.errors.FeatureNotSupported:
            raise DevServerError("this PostgreSQL has no hstore extension (install its contrib package)") from None
        _migrate(connection, steps)


def _migrate(connection: psycopg.Connection, steps: Sequence[str]) -> None:
    connection.execute("CREATE SCHEMA IF NOT EXISTS btrdb")
    connection.execute("CREATE TABLE IF NOT EXISTS btrdb.schema_step (step integer PRIMARY KEY)")
    found = connection.execute("SELECT coalesce(max(step), 0) FROM btrdb.schema_step").fetchone()
    done = int(found[0]) if found else 0
    if done > len(steps):
        raise DevServerError(f"the database has schema {done}, this version knows {len(steps)}: use a newer version")
    for number, step in enumerate(steps[done:], start=done + 1):
        connection.execute(step.encode())
        connection.execute("INSERT INTO btrdb.schema_step VALUES (%s)", [number])


def make_sql_role(dsn: str, *, statement_seconds: float) -> str:
    """Renew the role of SQLQuery and return its own DSN.

    It logs in as itself: after SET ROLE a query could go back to the session's user with set_config.
    """
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        row = connection.execute(
            "SELECT 'btrdb_sql_' || oid, datname FROM pg_database WHERE datname = current_database()"
        ).fetchone()
        assert row is not None
        role, database, password = sql.Identifier(row[0]), sql.Identifier(row[1]), secrets.token_urlsafe(24)
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [row[0]]).fetchone():
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(role))
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT PASSWORD {}").format(
                role, sql.Literal(password)
            )
        )
        settings = {
            "default_transaction_read_only": "on",
            "statement_timeout": str(int(statement_seconds * 1000)),
            "idle_in_transaction_session_timeout": "300000",
            "work_mem": "16MB",
            "temp_file_limit": "1GB",
            "max_parallel_workers_per_gather": "0",
            "cursor_tuple_fraction": "1",
            "search_path": "public",
            # The message of an error may repeat a value of the query; the caller has it, the log shall not.
            "log_min_messages": "log",
        }
        for key, value in settings.items():
            connection.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(role, sql.Identifier(key), sql.Literal(value))
            )
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute("REVOKE ALL ON SCHEMA btrdb FROM PUBLIC")
        connection.execute("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC")
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA public TO {}").format(role))
        connection.execute(sql.SQL("GRANT SELECT ON public.streams TO {}").format(role))
        _close_functions(connection)
        info = psycopg.conninfo.conninfo_to_dict(dsn) | {"user": row[0], "password": password}
        return psycopg.conninfo.make_conninfo("", **info)


def _close_functions(connection: psycopg.Connection) -> None:
    """Every database has its own grants on the built-in functions; those of others are not touched."""
    found = connection.execute(
        "SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p "
        "WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proname ~ %s AND p.prokind = 'f'"
        " AND has_function_privilege('public', p.oid, 'EXECUTE')",
        [FORBIDDEN_FUNCTIONS],
    ).fetchone()
    if found and found[0]:
        connection.execute(f"REVOKE EXECUTE ON FUNCTION {found[0]} FROM PUBLIC".encode())
