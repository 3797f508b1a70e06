"""BTrDBHook: the connection's fields, the shared client, the button "Test"."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook


def define(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> BTrDBHook:
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", json.dumps({"conn_type": "btrdb", **fields}))
    return BTrDBHook()


def config_of(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> ConnectionConfig:
    return define(monkeypatch, **fields).get_client().config


@pytest.mark.parametrize(
    ("fields", "endpoint", "tls"),
    [
        ({"host": "localhost"}, "localhost:4410", None),
        ({"host": "::1", "port": 99}, "[::1]:99", None),
        ({"host": "127.0.0.1", "extra": {"tls": "on"}}, "127.0.0.1:4411", TlsConfig()),
        ({"host": "btrdb.example.com"}, "btrdb.example.com:4411", TlsConfig()),
        ({"host": "btrdb.example.com", "extra": {"tls": "off"}}, "btrdb.example.com:4410", None),
    ],
)
def test_port_and_tls_follow_the_host(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], endpoint: str, tls: TlsConfig | None
) -> None:
    config = config_of(monkeypatch, **fields)
    assert (config.endpoint, config.tls) == (endpoint, tls)


def test_every_field_of_the_form_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    ca = "tests/in_airflow/conftest.py"  # any file that can be read; nothing connects
    extra = {
        "tls": "off",
        "authority": "name.example.com",
        "proxy": "off",
        "connect_timeout": 1.5,
        "request_timeout": "2.5",
        "retry_total": 0,
        "max_in_flight": 3,
        "max_rps": "20",
        "max_message_mb": 5,
        "insecure_key": True,
    }
    config = config_of(monkeypatch, host="btrdb.example.com", port=1, password="key", extra=extra)
    assert config == ConnectionConfig(
        endpoint="btrdb.example.com:1",
        api_key="key",
        authority="name.example.com",
        proxy="off",
        connect_timeout=1.5,
        request_timeout=2.5,
        retry_total=0,
        max_in_flight=3,
        max_rps=20.0,
        max_message_bytes=5 * 2**20,
        insecure_api_key=True,
    )
    untested = set(CONNECTION_FORM["conn-fields"]) - set(extra)
    assert untested == {"ca_bundle", "client_cert", "client_key"}
    with pytest.raises(AirflowFailException, match=r"ca_bundle /no/such\.pem cannot be read"):
        config_of(monkeypatch, host="h", extra={"ca_bundle": "/no/such.pem"})
    with pytest.raises(AirflowFailException, match="go together"):
        config_of(monkeypatch, host="h", extra={"client_cert": ca})


def test_the_uri_form_means_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "btrdb://:k%2Fey%25@btrdb.example.com:4411/?tls=on&request_timeout=7&insecure_key=false"
    monkeypatch.setenv("AIRFLOW_CONN_BTRDB_DEFAULT", uri)
    config = BTrDBHook().get_client().config
    assert config == ConnectionConfig(
        endpoint="btrdb.example.com:4411", api_key="k/ey%", tls=TlsConfig(), request_timeout=7.0
    )


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "the host is empty"),
        ({"host": "h", "extra": {"tls": "perhaps"}}, "tls is 'perhaps'"),
        ({"host": "h", "extra": {"tsl": "off"}}, "did you mean 'tls'"),
        ({"host": "h", "extra": {"insecure_keys": True}}, "did you mean 'insecure_key'"),
        ({"host": "h", "extra": {"insecure_key": "maybe"}}, "must be true or false"),
        ({"host": "h", "extra": {"request_timeout": "soon"}}, "request_timeout is 'soon'"),
        ({"host": "h", "extra": {"request_timeout": 0}}, "more than 0 seconds"),
        ({"host": "h", "extra": {"proxy": "proxy:3128"}}, "begins with http://"),
        ({"host": "h", "password": "secret", "extra": {"tls": "off"}}, "turn TLS on, or set insecure_key if"),
        ({"host": "h", "extra": {"insecure_api_key": True}}, "did you mean 'insecure_key'"),
    ],
)
def test_senseless_settings_fail_for_good_with_one_sentence(
    monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(AirflowFailException, match=words) as caught:
        define(monkeypatch, **fields).get_client()
    assert "btrdb_default" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_extra_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.warns(UserWarning, match="'retry_totl' of a btrdb connection is unknown.*'retry_total'"):
        config_of(monkeypatch, host="localhost", extra={"retry_totl": 1})


def test_a_missing_connection_says_how_to_make_one() -> None:
    with pytest.raises(AirflowFailException, match="airflow connections add no_such_id"):
        BTrDBHook("no_such_id").get_client()


@pytest.mark.parametrize(
    ("name", "meant"),
    [("TLS", "tls"), ("ca-bundel", "ca_bundle"), ("extra__btrdb__tls", "tls"), ("authorit", "authority")],
)
def test_a_misspelt_security_setting_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, meant: str) -> None:
    with pytest.raises(AirflowFailException, match=f"the extra '{name}' is unknown; did you mean '{meant}'"):
        config_of(monkeypatch, host="localhost", extra={name: "x"})


def test_the_legacy_form_equals_the_metadata() -> None:
    behaviour = CONNECTION_FORM["ui-field-behaviour"]
    legacy = BTrDBHook.get_ui_field_behaviour()
    assert {name.replace("_", "-"): value for name, value in legacy.items()} == behaviour


def test_the_legacy_widgets_equal_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their libraries come with Airflow 2 only; recorders stand in for the classes, as Airflow 3.0 and 3.1 do it."""
    made: dict[str, Any] = {}

    class Field:
        def __init__(self, **about: Any) -> None:
            self.kind, self.about = type(self).__name__, about

    kinds = {name: type(name, (Field,), {}) for name in ("BooleanField", "IntegerField", "StringField")}
    modules = {
        "flask_appbuilder": {},
        "flask_appbuilder.fieldwidgets": {"BS3TextFieldWidget": object},
        "flask_babel": {"lazy_gettext": str},
        "wtforms": kinds,
        "wtforms.validators": {"Optional": object},
    }
    for name, members in modules.items():
        module = types.ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    for name, field in BTrDBHook.get_connection_form_widgets().items():
        made[name] = (field.kind, field.about["label"], field.about["description"], field.about["default"])
    kind_of = {"boolean": "BooleanField", "integer": "IntegerField"}
    assert made == {
        name: (
            kind_of.get(field["schema"]["type"] if isinstance(field["schema"]["type"], str) else "", "StringField"),
            field["label"],
            field["description"],
            field["schema"].get("default"),
        )
        for name, field in CONNECTION_FORM["conn-fields"].items()
    }


def test_a_connection_from_a_secrets_backend(tmp_path: Path, server: Any) -> None:
    """The key with characters that a URI must escape, in both forms that a secrets backend may hold."""
    host, port = server.endpoint.split(":")
    key = "k/e:y%@?#"
    uri = f"btrdb://:{quote(key, safe='')}@{host}:{port}/?request_timeout=7&tls=off"
    extra = {"request_timeout": 7, "tls": "off"}
    as_json = {"conn_type": "btrdb", "host": host, "port": int(port), "password": key, "extra": extra}
    (tmp_path / "connections.json").write_text(json.dumps({"as_uri": uri, "as_json": as_json}))
    script = (
        "from airflow_provider_btrdb.hooks.btrdb import BTrDBHook\n"
        "configs = [BTrDBHook(name).get_client().config for name in ('as_uri', 'as_json')]\n"
        f"assert configs[0] == configs[1] and configs[0].api_key == {key!r}, configs\n"
        "assert configs[0].request_timeout == 7 and configs[0].tls is None\n"
        f"assert configs[0].endpoint == {server.endpoint!r}\n"
        "assert BTrDBHook('as_uri').get_client() is BTrDBHook('as_json').get_client()\n"
        "print('EQUAL')\n"
    )
    backend = {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(tmp_path / "connections.json")}),
    }
    run = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | backend,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "EQUAL" in run.stdout, run.stderr[-3000:]


def test_making_a_hook_asks_nobody_and_swallows_foreign_arguments() -> None:
    assert BTrDBHook("no_such_id", tls="on", schema_extra=1).btrdb_conn_id == "no_such_id"
    assert BTrDBHook().btrdb_conn_id == "btrdb_default"


def test_hooks_of_a_process_share_one_client(connection: str) -> None:
    assert BTrDBHook().get_client() is BTrDBHook(connection).get_client()


def test_connections_that_say_the_same_share_one_client(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_BTRDB_DEFAULT"])
    assert BTrDBHook("other").get_client() is BTrDBHook().get_client()
    assert BTrDBHook("impatient").get_client() is not BTrDBHook().get_client()


def test_threads_that_begin_together_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    define(monkeypatch, host="localhost", extra={"request_timeout": 3.21})
    together = threading.Barrier(8)

    def client(_: int) -> Any:
        hook = BTrDBHook()
        together.wait()
        return hook.get_client()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(client, range(8)))) == 1


def test_two_loops_at_once_have_a_client_each(connection: str) -> None:
    together = threading.Barrier(2)

    async def use() -> tuple[Any, int]:
        db = await BTrDBHook().get_async_client()
        await asyncio.to_thread(together.wait)
        return db, (await db.info())["majorVersion"]

    with ThreadPoolExecutor(2) as pool:
        (one, five), (two, also_five) = pool.map(lambda _: asyncio.run(use()), range(2))
    assert one is not two
    assert five == also_five == 5


def test_hooks_of_a_loop_share_one_async_client(connection: str) -> None:
    async def clients() -> list[Any]:
        return [await BTrDBHook().get_async_client() for _ in range(2)]

    one, two = asyncio.run(clients())
    assert one is two
    (three, _) = asyncio.run(clients())
    assert three is not one


def test_the_seed_calls_stand_on_the_hook(connection: str, collection: str) -> None:
    hook = BTrDBHook()
    uuid = "4c1d0a5e-35f8-4bd4-a6b3-7e2fb0fd6e11"
    hook.create(uuid, collection, {"name": "x", "unit": "V"}, {"k": "v"})
    assert hook.info()["majorVersion"] == 5
    assert hook.list_collections(collection) == [collection]
    assert hook.collection_metadata(collection)[1] == {"k": 1}
    assert hook.query("SELECT unit FROM streams WHERE collection = $1", [collection]) == [{"unit": "V"}]
    assert str(hook.streams(f"{collection}/x")[0].uuid) == uuid
    assert [stream.name for stream in hook.streams_in_collection(collection)] == ["x"]
    assert hook.stream_from_uuid(uuid).exists()
    assert [result.outcome for result in hook.create_many([{"collection": collection, "name": "x"}])] == ["existed"]


def test_errors_of_the_calls_are_airflows(connection: str, collection: str) -> None:
    with pytest.raises(AirflowFailException, match=f"{collection}/x") as caught:
        BTrDBHook().streams(f"{collection}/x")
    assert type(caught.value.__cause__).__name__ == "StreamNotFoundError"


# ---------------------------------------------------------------- test_connection


def test_the_button_test_tells_what_answers(connection: str) -> None:
    ok, message = BTrDBHook().test_connection()
    assert ok
    assert re.fullmatch(
        r"BTrDB 5\.\d+ \(build \S+\) at 127\.0\.0\.1:\d+ answers; this key may see \d+ streams?; SQL is served", message
    )


@pytest.mark.usefixtures("patient")
def test_the_button_test_tells_what_is_wrong(monkeypatch: pytest.MonkeyPatch, server: Any, closed_port: int) -> None:
    host, port = server.endpoint.split(":")

    def tried(**fields: Any) -> str:
        ok, message = define(monkeypatch, **fields).test_connection()
        assert not ok
        assert "Traceback" not in message
        return message

    assert f"127.0.0.1:{closed_port} refuses the connection" in tried(host=host, port=closed_port)
    assert "the API key was refused: invalid api key" in tried(host=host, port=int(port), password="wrong-key")
    assert "wants an API key" in tried(host=host, port=int(port))
    assert "no TLS is spoken there" in tried(host=host, port=int(port), password="k", extra={"tls": "on"})
    assert "DNS does not know the host 'no-such-host.invalid'" in tried(host="no-such-host.invalid")
    assert "tls is 'perhaps'" in tried(host=host, extra={"tls": "perhaps"})
    monkeypatch.delenv("AIRFLOW_CONN_BTRDB_DEFAULT")
    assert "there is no Airflow connection" in BTrDBHook().test_connection()[1]


def test_all_waits_of_the_button_test_are_within_ten_seconds(connection: str, server: Any) -> None:
    server.calls.clear()
    BTrDBHook().test_connection()
    left = [record.seconds_left for record in server.calls.records()]
    assert len(left) >= 2
    assert all(seconds is not None and seconds < 10 for seconds in left)


def test_a_server_that_is_away_is_worth_a_retry(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    hook = define(monkeypatch, host="127.0.0.1", port=closed_port, extra={"retry_total": 0})
    with pytest.raises(BTrDBTransientException, match="cannot reach BTrDB"):
        hook.info()


FORKING = """
import os
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
before = BTrDBHook().get_client()
print("parent", before.info()["majorVersion"], flush=True)
child = os.fork()
if child == 0:
    after = BTrDBHook().get_client()
    print("child", after is not before, after.info()["majorVersion"], flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_worker_gets_a_client_of_its_own(connection: str) -> None:
    run = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=120, check=True)
    assert [line for line in run.stdout.splitlines() if line.startswith(("parent", "child"))] == [
        "parent 5",
        "child True 5",
    ]
