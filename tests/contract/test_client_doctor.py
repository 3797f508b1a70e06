"""The doctor: what it finds on real servers, behind real proxies, and in front of what is no server."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.cli import doctor as command
from airflow_provider_btrdb.client import ConnectionConfig, TlsConfig, connect, doctor
from airflow_provider_btrdb.client.doctor import Diagnosis, diagnose
from airflow_provider_btrdb.client.probe import Clock
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import Answer, Corrupt, Delay, Refuse

KEYS = {
    "keys": {
        "all": {"key": "all-key", "read": [""], "insert": [""]},
        "two": {"key": "two-key", "read": ["a/", "b/"]},
        "none": {"key": "no-key"},
    }
}


def names(found: Diagnosis) -> list[str]:
    return [step.name for step in found.steps]


def asked(endpoint: str, seconds: float = 30, **options: Any) -> Diagnosis:
    return diagnose(ConnectionConfig(endpoint=endpoint, **options), seconds)


def wrong(step: str, endpoint: str, *, retryable: bool, seconds: float = 30, **options: Any) -> str:
    """The sentence of a check that ends at this step."""
    found = asked(endpoint, seconds, **options)
    assert not found.ok
    assert (names(found)[-1], found.retryable) == (step, retryable), found
    assert [one.ok for one in found.steps] == [True] * (len(found.steps) - 1) + [False]
    assert found.sentence == found.steps[-1].text
    return found.sentence


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`impatient(2)`: a check has half a second left from when it asks for the third time, until then more than enough.

    It asks before each step. With few seconds for all of it, one that is held up would end before the step that a test
    is about.
    """

    def make(asked: int) -> None:
        class Hasty(Clock):
            times = 0

            def left(self) -> float:
                self.times += 1
                if self.times == asked + 1:
                    super().__init__(0.5)
                return super().left() if self.times > asked else 60.0

        monkeypatch.setattr(doctor, "Clock", Hasty)

    return make


# ---------------------------------------------------------------- servers


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with devserver(keys=KEYS) as running:
        with connect(running.endpoint, "all-key") as db:
            db.create_many([{"collection": f"{prefix}/x", "name": str(n)} for prefix in "abcde" for n in range(3)])
        yield running


def test_what_a_key_may_see(server: Any) -> None:
    found = asked(server.endpoint, api_key="all-key")
    assert names(found) == ["name", "port", "server", "SQL", "streams"]
    assert (found.ok, found.version, found.streams, found.serves_sql) == (True, "5.30", 15, True)
    assert f"at {server.endpoint} answers; this key may see 15 streams; SQL is served" in found.sentence
    partly = asked(server.endpoint, api_key="two-key")
    assert (partly.ok, partly.streams, partly.serves_sql) == (True, 6, False)
    assert partly.sentence.endswith("this key may see 6 streams; SQL is not open to this key")
    nothing = asked(server.endpoint, api_key="no-key")
    assert (nothing.ok, nothing.streams) == (True, 0)


def test_without_sql_the_streams_are_listed(impatient: Any) -> None:
    with devserver(sql=False) as server:
        with connect(server.endpoint) as db:
            db.create_many([{"collection": "c", "name": "only"}])
        found = asked(server.endpoint)
        assert (found.ok, found.streams, found.serves_sql, found.all_counted) == (True, 1, False, True)
        assert found.sentence.endswith("this key may see 1 stream; SQL is switched off at the server")
        impatient(4)
        with server.faults.inject("LookupStreams", Delay(600)):
            late = asked(server.endpoint)
        assert (late.ok, late.all_counted) == (True, False)
        assert "this key may see more than 0 streams" in late.sentence


def test_keys(server: Any) -> None:
    assert "the API key was refused" in wrong("server", server.endpoint, retryable=False, api_key="wrong")
    assert "wants an API key and none is configured" in wrong("server", server.endpoint, retryable=False)
    assert any(step.text.endswith("takes the API key") for step in asked(server.endpoint, api_key="all-key").steps)


def test_trouble_at_the_server(server: Any) -> None:
    with server.faults.inject("Info", Corrupt("nothing")):
        text = wrong("server", server.endpoint, retryable=False, api_key="all-key")
    assert text == "the server is BTrDB 0.0 (); version 5 or newer is needed"
    with server.faults.inject("Info", Refuse()):
        assert "cannot reach BTrDB" in wrong("server", server.endpoint, retryable=True, api_key="all-key")
    with server.faults.inject("SQLQuery", Answer(440, "no database")):
        assert "SQL fails: no database" in wrong("SQL", server.endpoint, retryable=True, api_key="all-key")
    with server.faults.inject("LookupStreams", Answer(406, "no such thing")):
        text = wrong("streams", server.endpoint, retryable=False, api_key="two-key")
        assert text.startswith("listing streams fails: (406: no such thing)")


def test_every_call_has_a_deadline_within_the_time_given(server: Any) -> None:
    server.calls.clear()
    asked(server.endpoint, seconds=20, api_key="two-key")
    left = {record.method: record.seconds_left for record in server.calls.records()}
    assert set(left) == {"Info", "SQLQuery", "LookupStreams"}
    assert all(seconds is not None and seconds <= 20 for seconds in left.values())


# ---------------------------------------------------------------- the way there


def test_names_and_ports(closed_port: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = wrong("name", "no-such-host.invalid:4411", retryable=True, tls=TlsConfig())
    assert text.startswith("DNS does not know the host 'no-such-host.invalid'")
    port = closed_port()
    text = wrong("port", f"127.0.0.1:{port}", retryable=True)
    assert text == f"127.0.0.1:{port} refuses the connection: nothing listens there"
    never = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: never.wait(20))
    assert "DNS does not answer" in wrong("name", "slow.example.com:4411", retryable=True, seconds=0.2)
    never.set()


@contextlib.contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """A port that says something else than BTrDB to everybody, or with None nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        guests = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = door.accept()
                    guests.append(guest)
                    if answer is not None:
                        guest.sendall(answer)
                        guest.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)
        for guest in guests:
            guest.close()


def test_what_is_no_btrdb(impatient: Any) -> None:
    with listener(b"SSH-2.0-OpenSSH_9.2\r\n") as endpoint:
        assert wrong("server", endpoint, retryable=True).endswith("; something else than BTrDB may listen there")
        assert "no TLS is spoken there" in wrong("TLS", endpoint, retryable=False, tls=TlsConfig())
    with listener(None) as endpoint:
        impatient(2)
        text = wrong("server", endpoint, retryable=True)
        assert "did not answer in time" in text
        assert text.endswith("; something else than BTrDB may listen there")
        assert "not answered in time" in wrong("TLS", endpoint, retryable=True, tls=TlsConfig())


def test_tls(tls_endpoint: str, certificate: tuple[Path, Path]) -> None:
    trust = TlsConfig(ca_bundle=str(certificate[0]))
    found = asked(tls_endpoint, tls=trust, api_key="tls-key")
    assert names(found) == ["name", "port", "TLS", "server", "SQL", "streams"]
    assert found.ok
    tls = found.steps[2].text
    assert tls.startswith("TLSv1.3, certificate for 127.0.0.1 issued by 'The Test Authority', trusted by ca_bundle ")
    text = wrong("TLS", tls_endpoint, retryable=False, tls=TlsConfig(), api_key="tls-key")
    assert "the server's certificate, issued by 'The Test Authority', is refused: self-signed certificate" in text
    text = wrong("TLS", tls_endpoint, retryable=False, tls=trust, authority="other.test")
    assert "issued by 'The Test Authority', is refused: Hostname mismatch" in text
    assert wrong("server", tls_endpoint, retryable=True, api_key="tls-key").endswith("it speaks TLS: turn TLS on")
    missing = TlsConfig(ca_bundle="/no/such.pem")
    assert "ca_bundle /no/such.pem cannot be read" in wrong("TLS", tls_endpoint, retryable=False, tls=missing)
    swapped = TlsConfig(ca_bundle=str(certificate[0]), client_cert=str(certificate[1]), client_key=str(certificate[0]))
    assert "client_cert and client_key are not a PEM" in wrong("TLS", tls_endpoint, retryable=False, tls=swapped)


# ---------------------------------------------------------------- proxies


class Proxies:
    """HTTP proxies that know one host, `btrdb.test`, which is 127.0.0.1."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._stack = contextlib.ExitStack()

    def start(self, refuse: str | None = None) -> int:
        """The port of a new one; with `refuse` it only ever says that, with "" nothing that ends."""
        door = self._stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._stack.callback(door.shutdown, socket.SHUT_RDWR)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest, _ = door.accept()
                    threading.Thread(target=self._serve, args=(guest, refuse), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        return int(door.getsockname()[1])

    def _serve(self, guest: socket.socket, refuse: str | None) -> None:
        with contextlib.suppress(OSError), guest:
            request = b""
            while b"\r\n\r\n" not in request:
                more = guest.recv(4096)
                if not more:
                    return
                request += more
            self.requests.append(request.decode())
            if refuse == "":
                while True:
                    guest.sendall(b"x")
                    time.sleep(0.05)
            if refuse is not None:
                guest.sendall(f"HTTP/1.1 {refuse}\r\n\r\n".encode())
                return
            port = int(request.split(b" ")[1].rpartition(b":")[2])
            with socket.create_connection(("127.0.0.1", port)) as host:
                guest.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_copy, args=(host, guest), daemon=True)
                back.start()
                _copy(guest, host)
                back.join()

    def close(self) -> None:
        self._stack.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    started = Proxies()
    yield started
    started.close()


def test_through_a_proxy(proxies: Proxies, tls_endpoint: str, certificate: Any) -> None:
    port, options = tls_endpoint.rpartition(":")[2], {"tls": TlsConfig(ca_bundle=str(certificate[0]))}
    proxy = proxies.start()
    found = asked(f"btrdb.test:{port}", api_key="tls-key", proxy=f"http://me:sesam%65@127.0.0.1:{proxy}", **options)
    assert found.ok, found
    assert found.steps[1].text == (
        f"btrdb.test:{port} takes connections through the proxy 127.0.0.1:{proxy} (from the setting proxy)"
    )
    assert all(request.startswith(f"CONNECT btrdb.test:{port} ") for request in proxies.requests)
    logins = {line for request in proxies.requests for line in request.splitlines() if "uthorization" in line}
    assert {login.lower() for login in logins} == {"proxy-authorization: basic bwu6c2vzyw1l"}  # gRPC's own among them
    assert "sesam" not in repr(found)


def test_what_a_proxy_says_is_told(proxies: Proxies, closed_port: Any, impatient: Any) -> None:
    closed, strict = closed_port(), proxies.start(refuse="407 Proxy Authentication Required")
    options: dict[str, Any] = {"tls": TlsConfig()}
    text = wrong("port", "btrdb.test:4411", retryable=True, proxy=f"http://127.0.0.1:{closed}", **options)
    assert f"the proxy 127.0.0.1:{closed} (from the setting proxy): 127.0.0.1:{closed} refuses the connection" in text
    text = wrong("port", "btrdb.test:4411", retryable=True, proxy=f"http://127.0.0.1:{strict}", **options)
    assert text.endswith("refuses to connect to btrdb.test:4411: HTTP/1.1 407 Proxy Authentication Required")
    text = wrong("name", "btrdb.test:4411", retryable=True, proxy="http://no-proxy.invalid:3128", **options)
    assert "DNS does not know the host 'no-proxy.invalid'" in text
    endless = f"http://127.0.0.1:{proxies.start(refuse='')}"
    impatient(2)
    assert "does not answer" in wrong("port", "btrdb.test:4411", retryable=True, proxy=endless, **options)


@pytest.mark.parametrize(
    ("variables", "used"),
    [
        ({"http_proxy": "http://127.0.0.1:{p}"}, True),
        ({"grpc_proxy": "http://127.0.0.1:{p}", "http_proxy": "http://127.0.0.1:1"}, True),
        ({"https_proxy": "http://127.0.0.1:{p}", "http_proxy": "http://127.0.0.1:1"}, True),
        ({"http_proxy": "http://127.0.0.1:{p}", "no_proxy": "example.com, .test"}, False),
        ({"http_proxy": "socks5://127.0.0.1:{p}"}, False),
        ({}, False),
    ],
)
def test_proxies_of_the_environment(
    proxies: Proxies, server: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], used: bool
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = proxies.start()
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(p=proxy))
    endpoint = f"btrdb.test:{server.port}"
    found = asked(endpoint, api_key="all-key", insecure_api_key=True)
    if used:
        assert found.ok, found
        assert len(proxies.requests) >= 2  # ours and gRPC's
    else:
        assert names(found) == ["name"]
        assert "'btrdb.test'" in found.sentence
        assert proxies.requests == []
    assert asked(server.endpoint, api_key="all-key").ok  # this machine needs no proxy


# ---------------------------------------------------------------- the command


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("BTRDB_")}
    script = "import sys; from airflow_provider_btrdb.cli.doctor import main; status = main(); " + (
        "assert 'airflow' not in sys.modules; sys.exit(status)"
    )
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_command(server: Any) -> None:
    done = run("--endpoint", server.endpoint, "--api-key-env", "KEY", KEY="all-key")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"BTrDB at {server.endpoint}"
    assert [line.split()[:2] for line in lines[1:-1]] == [
        ["ok", one] for one in ("name", "port", "server", "SQL", "streams")
    ]
    assert lines[-1] == "The server can be used."
    done = run("--endpoint", server.endpoint, "--api-key-env", "KEY", KEY="wrong-key")
    assert done.returncode == 1
    assert "  FAIL  server  the API key was refused" in done.stdout
    assert "wrong-key" not in done.stdout + done.stderr


def test_the_command_takes_the_environment(server: Any, closed_port: Any) -> None:
    closed = f"127.0.0.1:{closed_port()}"
    done = run("--json", BTRDB_ENDPOINTS=f"{server.endpoint},{closed}", BTRDB_API_KEY="two-key")
    assert done.returncode == 1
    first, second = json.loads(done.stdout)
    assert (first["ok"], first["streams"], second["ok"], second["endpoint"]) == (True, 6, False, closed)


def test_senseless_arguments(server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEY", raising=False)
    for arguments, words in (
        (["--endpoint", "nowhere"], "is not host:port"),
        (["--endpoint", "h:1", "--api-key-env", "KEY"], "the variable KEY is not set"),
        (["--endpoint", "h:1", "--client-cert", "x"], "go together"),
    ):
        assert command.main(arguments) == 2
        assert words in capsys.readouterr().err
    for arguments in (["--seconds", "0"], ["--seconds", "nan"], ["--tls", "perhaps"]):
        with pytest.raises(SystemExit) as caught:
            command.main(["--endpoint", server.endpoint, *arguments])
        assert caught.value.code == 2
