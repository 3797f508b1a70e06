"""Connecting: endpoints, TLS and whom it trusts, keys that change, settings from the environment, SQL switched off."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tenacity import stop_after_attempt

from airflow_provider_btrdb.client import TlsConfig, connect, connect_async, errors
from airflow_provider_btrdb.client._sync import calls as sync_calls
from airflow_provider_btrdb.testing import devserver

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- endpoints


async def test_endpoints_are_tried_in_turn(
    target: Any, one_loop: None, closed_port: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoints = f"127.0.0.1:{closed_port()}, {target.endpoint}"
    with connect(endpoints, target.api_key) as db:
        assert db.info()["majorVersion"] >= 5
    async with await connect_async(endpoints, target.api_key) as other:
        assert (await other.info())["majorVersion"] >= 5
    # Ended by their number: an attempt that has hardly any time left may end with that instead of what is wrong.
    monkeypatch.setattr(sync_calls, "SpentBudget", lambda _: stop_after_attempt(2))
    with pytest.raises(errors.ServerUnavailableError, match="cannot reach BTrDB at"):
        connect(f"127.0.0.1:{closed_port()},127.0.0.1:{closed_port()}")


async def test_ipv6(one_loop: None) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("needs IPv6 on the loopback interface")
    with devserver(host="[::1]") as server, connect(server.endpoint) as db:
        assert server.endpoint.startswith("[::1]:")
        assert db.list_collections() == []
        async with await connect_async(server.endpoint) as other:
            assert await other.list_collections() == []


# ---------------------------------------------------------------- TLS


async def test_a_bundle_of_ones_own_is_trusted(tls_endpoint: str, certificate: Any, one_loop: None) -> None:
    trust = TlsConfig(ca_bundle=str(certificate[0]))
    with connect(tls_endpoint, "tls-key", trust) as db:
        assert db.list_collections() == []
    async with await connect_async(tls_endpoint, "tls-key", trust, authority="btrdb.test") as other:
        assert await other.list_collections() == []


@pytest.mark.parametrize("variable", ["BTRDB_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"])
def test_bundles_from_the_environment(
    tls_endpoint: str, certificate: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    for name in ("BTRDB_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(certificate[0]))
    with connect(tls_endpoint, "tls-key", True) as db:
        assert db.list_collections() == []


async def test_what_is_wrong_with_a_certificate_is_said(
    tls_endpoint: str, certificate: Any, monkeypatch: pytest.MonkeyPatch, one_loop: None
) -> None:
    for name in ("BTRDB_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(errors.ServerUnavailableError) as caught:
        connect(tls_endpoint, "tls-key", True, retry_total=0)
    assert "issued by 'The Test Authority', is refused: self-signed certificate" in str(caught.value)
    assert "trusted by the system's certificates" in str(caught.value)
    trust = TlsConfig(ca_bundle=str(certificate[0]))
    with pytest.raises(errors.ServerUnavailableError, match="Hostname mismatch"):
        await connect_async(tls_endpoint, "tls-key", trust, authority="other.test", retry_total=0)


def test_talking_past_each_other(target: Any, tls_endpoint: str) -> None:
    with pytest.raises(errors.ServerUnavailableError, match="no TLS is spoken there"):
        connect(target.endpoint, target.api_key, True, retry_total=0)
    with pytest.raises(
        errors.ServerUnavailableError, match=r"without TLS .does it listen there, and does it speak TLS"
    ):
        connect(tls_endpoint, "tls-key", retry_total=0)


# ---------------------------------------------------------------- keys


async def test_a_refused_key_is_asked_for_once_more(target: Any, one_loop: None) -> None:
    asked: list[str] = []

    def newer() -> str:
        asked.append("sync")
        return str(target.api_key)

    async def newer_later() -> str:
        asked.append("async")
        return str(target.api_key)

    with connect(target.endpoint, "old-key", new_api_key=newer) as db:
        assert db.list_collections("nothing/") == []
        assert [result.outcome for result in db.create_many([{"collection": "c" * 256, "name": "x"}])] == ["failed"]
    async with await connect_async(target.endpoint, "old-key", new_api_key=newer_later) as other:
        assert [page async for page in other.lookup_iter("nothing/")] == []
    assert asked == ["sync", "sync", "async"]  # the channel of bulk calls learns it by itself


def test_an_unchanged_key_fails_at_once(target: Any) -> None:
    asked: list[int] = []
    with pytest.raises(errors.AuthenticationError, match="the API key was refused: invalid api key"):
        connect(target.endpoint, "old-key", new_api_key=lambda: asked.append(1) or "old-key")
    assert asked == [1]


# ---------------------------------------------------------------- the environment


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("BTRDB_ENDPOINTS", "BTRDB_API_KEY", "BTRDB_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / ".predictivegrid").mkdir()
    return tmp_path / ".predictivegrid" / "credentials.yaml"


@pytest.mark.parametrize("opening", [connect, connect_async])
async def test_connecting_by_variables(
    target: Any, done: Any, one_loop: None, home: Path, monkeypatch: pytest.MonkeyPatch, opening: Any
) -> None:
    home.write_text("default:\n  btrdb:\n    endpoints: 'nowhere:1'\n    api_key: 'wrong'\n")
    monkeypatch.setenv("BTRDB_ENDPOINTS", target.endpoint)
    with pytest.raises(errors.AuthenticationError):
        await done(opening())
    monkeypatch.setenv("BTRDB_API_KEY", target.api_key)
    db = await done(opening())
    assert (db.config.endpoint, db.config.api_key) == (target.endpoint, target.api_key)
    await done(db.close())


@pytest.mark.parametrize("opening", [connect, connect_async])
@pytest.mark.parametrize("profile", [None, "lab"])
async def test_connecting_by_profile(
    target: Any,
    done: Any,
    one_loop: None,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    profile: str | None,
    opening: Any,
) -> None:
    if profile:
        monkeypatch.setenv("BTRDB_PROFILE", profile)
    home.write_text(
        f"{profile or 'default'}:\n  btrdb:\n    endpoints: '{target.endpoint}'\n    api_key: '{target.api_key}'\n"
    )
    db = await done(opening())
    assert db.config.endpoint == target.endpoint
    assert await done(db.list_collections("nothing/")) == []
    await done(db.close())


@pytest.mark.parametrize(
    ("text", "profile", "words"),
    [
        (None, None, "no BTrDB server is named"),
        (None, "lab", r"credentials\.yaml does not exist"),
        ("default: {}", "lab", "has no profile 'lab'"),
        ("lab: {}", "lab", "has no section btrdb"),
        ("lab: [secret-text", "lab", "cannot be read as YAML"),
    ],
)
def test_a_missing_place_is_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, profile: str | None, words: str
) -> None:
    if profile:
        monkeypatch.setenv("BTRDB_PROFILE", profile)
    if text is not None:
        home.write_text(text)
    with pytest.raises(errors.InputError, match=words) as caught:
        connect()
    assert "secret-text" not in str(caught.value)


# ---------------------------------------------------------------- SQL is optional


async def test_without_sql_everything_but_queries_works_the_same(one_loop: None) -> None:
    def fill(db: Any) -> None:
        db.create_many(
            {"collection": f"c{number % 2}", "name": f"n%_{number % 3}", "unit": "VA"[number % 2],
             "annotations": {f"k{number}": "v"}}
            for number in range(6)
        )  # fmt: skip

    answers = []
    for sql in (True, False):
        with devserver(sql=sql) as server, connect(server.endpoint) as db:
            fill(db)
            assert db.serves_sql() is sql
            async with await connect_async(server.endpoint) as other:
                lists = [
                    (db.list_unique_names(prefix), db.list_unique_units(prefix), db.list_unique_annotations(prefix))
                    for prefix in ("", "c1", "nothing", "%")
                ]
                assert await other.serves_sql() is sql
                for number, prefix in enumerate(("", "c1", "nothing", "%")):
                    assert await other.list_unique_names(prefix) == lists[number][0]
                    assert await other.list_unique_units(prefix) == lists[number][1]
                    assert await other.list_unique_annotations(prefix) == lists[number][2]
                answers.append((lists, db.list_collections(), db.collection_metadata(""), db.count_streams("c0")))
            if not sql:
                with pytest.raises(errors.NotSupportedError, match="does not offer this call"):
                    db.query("SELECT 1")
    assert answers[0] == answers[1]
    assert answers[0][0][0] == (["n%_0", "n%_1", "n%_2"], ["A", "V"], [f"k{number}" for number in range(6)])
    assert answers[0][0][1][0] == ["n%_0", "n%_1", "n%_2"]


def test_after_close_a_connection_refuses(target: Any) -> None:
    db = connect(target.endpoint, target.api_key)
    db.create_many([])
    db.close()
    db.close()
    for call in (db.info, lambda: db.create_many([{"collection": "c", "name": str(uuid4())}])):
        with pytest.raises(errors.ClientUnusableError, match="is closed"):
            call()
