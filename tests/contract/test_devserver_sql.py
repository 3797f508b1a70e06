"""SQLQuery: the answers of a real PostgreSQL, and every layer that keeps a query from doing more than reading."""

from __future__ import annotations

import json
import threading
import uuid

import psycopg
import pytest

from airflow_provider_btrdb.devserver import schema
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

UUIDS = [uuid.UUID(int=number) for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def server():
    limits = Limits(sql_row_bytes=100_000, sql_answer_bytes=1_000_000, sql_page_bytes=20_000)
    with devserver(limits=limits) as running:
        yield running


@pytest.fixture(scope="module")
def wire(server):
    with WireClient(server.endpoint) as client:
        for number, (key, name) in enumerate([("a", "eins"), ("b", "zwei"), ("a", "ÄÖÜ")]):
            annotation = pb.KeyOptValue(key=key, val=pb.OptValue(value=f"v{number}"))
            null = pb.KeyOptValue(key="null")
            client.call(
                "Create",
                pb.CreateParams(
                    uuid=UUIDS[number].bytes,
                    collection=f"sql/{number % 2}",
                    tags=[pb.KeyOptValue(key="name", val=pb.OptValue(value=name))],
                    annotations=[annotation, null] if number == 0 else [annotation],
                ),
            )
        yield client


def query(wire, statement, *params):
    pages = wire.call("SQLQuery", pb.SQLQueryParams(query=statement, params=list(params)))
    for page in pages:
        if page.HasField("stat"):
            raise Refused(page.stat.code, page.stat.msg)
    return [json.loads(row) for page in pages for row in page.rows]


class Refused(Exception):
    def __init__(self, code, msg):
        super().__init__(code, msg)
        self.code = code
        self.msg = msg


@pytest.mark.parametrize(
    ("statement", "params", "rows"),
    [
        ("SELECT count(*) FROM streams", [], [{"count": 3}]),
        ("SELECT COUNT(uuid) FROM streams;", [], [{"count": 3}]),
        ("  select 1 as one ;\n ", [], [{"one": 1}]),
        ("select 1 as one -- why not", [], [{"one": 1}]),
        ("select name from streams where uuid = $1", [str(UUIDS[1])], [{"name": "zwei"}]),
        (
            "select name from streams where name = $1 or name = $2 order by 1",
            ["zwei", "eins"],
            [{"name": "eins"}, {"name": "zwei"}],
        ),
        (
            "select name from streams where property_version >= $1 order by name limit $2",
            ["1", "1"],
            [{"name": "eins"}],
        ),
        (
            "select name from streams where name = any($1) order by 1",
            ["{eins,zwei}"],
            [{"name": "eins"}, {"name": "zwei"}],
        ),
        ("select name from streams where name ilike $1", ["%äö%"], [{"name": "ÄÖÜ"}]),
        ("select name from streams where name ~ '^z.e'", [], [{"name": "zwei"}]),
        ("select annotations from streams where name = 'eins'", [], [{"annotations": {"a": "v0", "null": None}}]),
        ("select annotations->$1 as v from streams order by uuid", ["a"], [{"v": "v0"}, {"v": None}, {"v": "v2"}]),
        ("select name from streams where annotations ? $1 order by uuid", ["b"], [{"name": "zwei"}]),
        ("select name from streams where annotations @> hstore($1::text, $2::text)", ["a", "v2"], [{"name": "ÄÖÜ"}]),
        ("select count(*) from streams where annotations->$1::text is not null", ["null"], [{"count": 0}]),
        (
            "select distinct(skeys(annotations)) as annotations from streams order by 1",
            [],
            [{"annotations": "a"}, {"annotations": "b"}, {"annotations": "null"}],
        ),
        (
            "select collection, count(*) as n from streams group by collection order by 1",
            [],
            [{"collection": "sql/0", "n": 2}, {"collection": "sql/1", "n": 1}],
        ),
        ("with s as (select * from streams) select count(*) from s", [], [{"count": 3}]),
        ("values (1, 'x')", [], [{"column1": 1, "column2": "x"}]),
        (
            "select e.key, e.value from streams, each(annotations) e where name = 'zwei'",
            [],
            [{"key": "b", "value": "v1"}],
        ),
        (
            "select true as t, 1.5 as f, null as n, array[1,2] as a, '{\"k\": 1}'::jsonb as j",
            [],
            [{"t": True, "f": 1.5, "n": None, "a": [1, 2], "j": {"k": 1}}],
        ),
        ("select 'a\"b\\c\nd' as s", [], [{"s": 'a"b\\c\nd'}]),
        ("select now() > '2020-01-01'::timestamptz as later", [], [{"later": True}]),
    ],
)
def test_answers(wire, statement, params, rows):
    assert query(wire, statement, *params) == rows


def test_rows_keep_their_columns_in_order(wire):
    (page,) = wire.call("SQLQuery", pb.SQLQueryParams(query="select 1 as z, 2 as a, 3 as m"))
    assert list(page.rows) == [b'{"z":1,"a":2,"m":3}']


def test_columns_of_streams(wire):
    (row,) = query(wire, "select * from streams where uuid = $1", str(UUIDS[0]))
    assert list(row) == [
        "uuid",
        "collection",
        "name",
        "unit",
        "ingress",
        "distiller",
        "property_version",
        "annotations",
    ]
    types = query(
        wire,
        "select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute "
        "where attrelid = 'streams'::regclass and attnum > 0",
    )
    assert {row["name"]: row["type"] for row in types} == {
        "uuid": "uuid",
        "collection": "character varying(256)",
        "name": "character varying(256)",
        "unit": "character varying(256)",
        "ingress": "character varying(256)",
        "distiller": "character varying(256)",
        "property_version": "bigint",
        "annotations": "hstore",
    }


def test_many_rows_come_in_several_pages(wire):
    pages = wire.call("SQLQuery", pb.SQLQueryParams(query="select n from generate_series(1, 5000) n"))
    assert len(pages) > 3
    assert [json.loads(row)["n"] for page in pages for row in page.rows] == list(range(1, 5001))


@pytest.mark.parametrize(
    ("statement", "params"),
    [
        ("select nonsense from streams", []),
        ("selec 1", []),
        ("", []),
        ("select 1 where uuid = $1", ["x"]),
        ("select name from streams where uuid = $1", ["no-uuid"]),
        ("select 1", ["one too many"]),
        ("select $1::int", []),
        ("select 1/0", []),
        ("select * from streams where name = $1", ["nul\0"]),
        ("select '\0'", []),
    ],
)
def test_bad_queries_are_441(wire, statement, params):
    with pytest.raises(Refused) as caught:
        query(wire, statement, *params)
    assert caught.value.code == 441
    assert caught.value.msg


ATTACKS = [
    "insert into streams(uuid) values (gen_random_uuid())",
    "update streams set name = 'x'",
    "delete from streams",
    "drop view streams",
    "truncate streams",
    "create table t(i int)",
    "create temp table t(i int)",
    "select 1 into temp t",
    "select * into t from streams",
    "copy streams to '/tmp/x'",
    "copy (select 1) to program 'true'",
    "do $$ begin end $$",
    "set role btrdb_owner",
    "set session authorization btrdb_owner",
    "listen x",
    "vacuum",
    "commit",
    "select 1; select 2",
    "select 1) q; commit; select (1",
    "select 1) q; drop view streams; select * from (select 1",
    "with d as (delete from streams returning *) select * from d",
    "with i as (insert into btrdb.tombstone values (gen_random_uuid()) returning *) select * from i",
    "select * from btrdb.stream",
    "select * from btrdb.chunk",
    "select 1) q union all select to_json(t)::text from (select * from btrdb.stream) t -- (",
    "select rolpassword from pg_authid",
    "select passwd from pg_shadow",
    "select pg_read_file('/etc/passwd')",
    "select pg_ls_dir('/')",
    "select pg_stat_file('/etc/passwd')",
    "select lo_create(0)",
    "select lo_import('/etc/passwd')",
    "select pg_sleep(0)",
    "select pg_sleep_for('1 second')",
    "select pg_terminate_backend(pg_backend_pid())",
    "select pg_cancel_backend(pg_backend_pid())",
    "select pg_notify('a', 'b')",
    "select pg_advisory_lock(1)",
    "select pg_try_advisory_xact_lock(1)",
    "select set_config('statement_timeout', '0', false)",
    "select set_config('role', 'none', false)",
    "select query_to_xml('select 1', true, true, '')",
    "select pg_reload_conf()",
    "select pg_switch_wal()",
    "select pg_export_snapshot()",
    "select * from streams for update",
    "select nextval('btrdb.stream_sid_seq')",
    "select dblink('x', 'y')",
]


@pytest.mark.parametrize("statement", ATTACKS)
def test_attacks_are_refused_and_leave_nothing(wire, server, statement):
    before = server.sql_as_owner("select count(*) from btrdb.stream")
    with pytest.raises(Refused) as caught:
        query(wire, statement)
    assert caught.value.code == 441
    assert server.sql_as_owner("select count(*) from btrdb.stream") == before
    assert query(wire, "select count(*) from streams") == [{"count": 3}]


def test_a_second_statement_is_never_run(wire):
    for statement in (
        "select 1) q; commit; select (1",
        "select 1) q; select set_config('a.b', 'c', false) from (select 1",
    ):
        with pytest.raises(Refused, match="multiple commands"):
            query(wire, statement)


def test_the_role_alone_can_do_no_harm():
    """Without the wrapper, the transaction and the server: the login role with a connection of its own."""
    with devserver() as server:
        dsn = schema.make_sql_role(server.dsn, statement_seconds=60)
        with psycopg.connect(dsn, autocommit=True) as connection:
            assert connection.execute("show default_transaction_read_only").fetchone() == ("on",)
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute("create table t(i int)")
            connection.execute("set default_transaction_read_only = off")
            harmless = ("select 1", "select * into t", "copy (select 1) to prog", "do ", "listen", "vacuum", "commit")
            for statement in (*ATTACKS, "select lo_creat(-1)", "select lo_from_bytea(0, 'x')"):
                if statement == "select 1 into temp t" or not statement.startswith(harmless):
                    with pytest.raises(psycopg.Error):
                        connection.execute(statement)
            for statement in ("select * into t from streams", "do $$ begin end $$"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)


def test_the_role_has_no_rights_beyond_the_view(server):
    ((role,),) = server.sql_as_owner("select rolname from pg_roles where rolname like 'btrdb_sql_%'")
    facts = server.sql_as_owner(
        "select rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolinherit "
        "from pg_roles where rolname = %s",
        [role],
    )
    assert facts == [(False,) * 6]
    assert (
        server.sql_as_owner(
            "select 1 from pg_auth_members m join pg_roles r on r.oid = m.member where rolname = %s", [role]
        )
        == []
    )
    readable = server.sql_as_owner(
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = c.relnamespace "
        "where n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and c.relkind in ('r', 'v', 'm') "
        "and has_schema_privilege(%s, n.oid, 'usage') "
        "and has_table_privilege(%s, c.oid, 'select, insert, update, delete')",
        [role, role],
    )
    assert readable == [("streams",)]


@pytest.fixture(scope="module")
def hasty():
    """A server that gives a statement one second; a short one may take longer too where the machine stands still."""
    with devserver(limits=Limits(sql_statement_seconds=1.0)) as running, WireClient(running.endpoint) as client:
        yield client


def test_a_long_query_is_cut_and_others_go_on(hasty, wait_until):
    def others_go_on():
        try:
            return query(hasty, "select 1 as one") == [{"one": 1}]
        except Refused:
            return False

    with pytest.raises(Refused, match="statement timeout"):
        query(hasty, "select count(*) from generate_series(1, 100000000000)")
    wait_until(others_go_on)


def test_more_long_queries_than_slots(hasty):
    outcomes = []

    def run():
        try:
            query(hasty, "select count(*) from generate_series(1, 100000000000)")
        except Refused as refused:
            outcomes.append(refused.code)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == [441] * 6


def test_large_rows_and_answers_are_refused(wire):
    assert len(query(wire, "select repeat('x', 90000) as x")[0]["x"]) == 90_000
    assert len(query(wire, "select repeat('ä', 90000) as x")[0]["x"]) == 90_000
    with pytest.raises(Refused, match="a row is larger"):
        query(wire, "select repeat('x', 200000) as x")
    with pytest.raises(Refused, match="the answer is larger"):
        query(wire, "select repeat('x', 5000) as x from generate_series(1, 1000)")


def test_a_reader_who_leaves_frees_the_slot(wire):
    for _ in range(12):
        call = wire.start("SQLQuery", pb.SQLQueryParams(query="select repeat('x', 1000) from generate_series(1, 900)"))
        next(call)
        call.cancel()
    assert query(wire, "select 1 as one") == [{"one": 1}]


def test_settings_of_one_caller_never_reach_the_next(wire):
    settings = "select name, setting from pg_settings where name in ('statement_timeout', 'search_path', 'work_mem')"
    assert query(wire, settings) == query(wire, settings)
    assert query(wire, "select pg_backend_pid() > 0 as ok, current_setting('transaction_read_only') as ro") == [
        {"ok": True, "ro": "on"}
    ]


def test_the_wrapper_and_the_cleaning_stand_without_the_role():
    """A role that somebody has opened: its transactions still only read, and its locks end with its call."""
    # One at a time: a connection is cleaned before the next call has its turn.
    with devserver(limits=Limits(sql_concurrency=1)) as server, WireClient(server.endpoint) as wire:
        ((role,),) = server.sql_as_owner("select rolname from pg_roles where rolname like 'btrdb_sql_%'")
        server.sql_as_owner(f"alter role {role} set default_transaction_read_only = off")
        server.sql_as_owner("grant execute on function lo_create(oid), pg_advisory_lock(bigint) to public")
        with pytest.raises(Refused, match="read-only transaction"):
            query(wire, "select lo_create(0)")
        assert query(wire, "select pg_advisory_lock(7)::text as locked") == [{"locked": ""}]
        ours = "select classid, objid from pg_locks where locktype = 'advisory' and objid = 7"
        assert query(wire, "select 1 as one") == [{"one": 1}], "the connection has been cleaned and is used again"
        assert server.sql_as_owner(ours) == []


def test_nobody_reads_the_statements_of_others(server, wire):
    """The other call has its connection as long as its client, who takes little at a time, does not read on."""
    narrow = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 65_536)]
    secret = pb.SQLQueryParams(query="select repeat('x', 1000) as secret from generate_series(1, 900)")
    with WireClient(server.endpoint, options=narrow) as other:
        call = other.start("SQLQuery", secret)
        next(call)
        others = "select query, state from pg_stat_activity where usename = current_user and pid <> pg_backend_pid()"
        rows = query(wire, others)
    assert rows
    assert not any(row["query"] for row in rows), "not even the FETCH that it is at"
