"""docs/troubleshooting.md: the rows about the way to the server and about the Airflow connection."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb._airflow import failure
from airflow_provider_btrdb.hooks.btrdb import BTrDBHook
from airflow_provider_btrdb.operators.connection import BTrDBConnectionCheckOperator
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.faults import Answer, Corrupt

ANYWHERE = {"host": "btrdb.test", "port": 4411}
"""A host that only a proxy could know."""


@pytest.fixture(scope="module")
def tls_server(certificate: tuple[Path, Path]) -> Iterator[Any]:
    with devserver(tls=certificate) as running:
        yield running


class Way:
    """What the cases work with."""

    def __init__(
        self, server: Any, tls_server: Any, certificate: tuple[Path, Path], closed_port: int, patch: Any, troubled: Any
    ) -> None:
        self.server, self.tls_server, self.closed_port, self.patch = server, tls_server, closed_port, patch
        self.certificate, self.key = map(str, certificate)
        self._connect = troubled.connect

    def check(self, endpoint: str | None = None, **fields: Any) -> Any:
        """The check of a connection, in a task."""
        self._connect(endpoint, **fields)
        return BTrDBConnectionCheckOperator(task_id="t").execute({})

    def check_briefly(self, step: str, endpoint: str | None = None, **fields: Any) -> Any:
        """The same, not waiting as long for what never comes at this step; longer if it was not come to in time."""
        self._connect(endpoint, **fields)
        for seconds in (0.5, 3, 20):
            found = BTrDBHook().diagnose(seconds)
            if found.steps[-1].name == step:
                break
        if not found.ok:
            raise failure(found.sentence, retryable=found.retryable)

    def hook(self, **fields: Any) -> Any:
        """What the settings of a connection are good for."""
        self._connect(**fields)
        return BTrDBHook().get_client()


@pytest.fixture
def way(
    server: Any,
    tls_server: Any,
    certificate: tuple[Path, Path],
    closed_port: int,
    patient: None,
    monkeypatch: pytest.MonkeyPatch,
    troubled: Any,
) -> Way:
    return Way(server, tls_server, certificate, closed_port, monkeypatch, troubled)


@contextlib.contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """A port that says the same to everybody, or with None nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as door, contextlib.ExitStack() as guests:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    guest = guests.enter_context(door.accept()[0])
                    if answer is not None:
                        guest.sendall(answer)
                        guest.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{door.getsockname()[1]}"
        door.shutdown(socket.SHUT_RDWR)


def silent_dns(way: Way) -> Any:
    asked = threading.Event()
    way.patch.setattr(socket, "getaddrinfo", lambda *_, **__: asked.wait(100))
    try:
        way.check_briefly("name", **ANYWHERE, proxy="off")
    finally:
        asked.set()


def dropped_packets(way: Way) -> Any:
    """Nobody takes guests in, and the queue at the door is full: Linux drops whoever comes then."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as door, contextlib.ExitStack() as queue:
        for _ in range(4):
            guest = queue.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex(door.getsockname())
        way.check_briefly("port", f"127.0.0.1:{door.getsockname()[1]}")


def refusing_proxy(way: Way) -> Any:
    with listener(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as proxy:
        way.check(**ANYWHERE, proxy=f"http://{proxy}")


def silent_tls(way: Way) -> Any:
    with listener(None) as endpoint:
        way.check_briefly("TLS", endpoint, tls="on")


def another_program(way: Way) -> Any:
    with listener(b"SSH-2.0-OpenSSH_9.2\r\n") as endpoint:
        way.check(endpoint)


def no_tls_there(way: Way) -> Any:
    with listener(b"SSH-2.0-OpenSSH_9.2\r\n") as endpoint:
        way.check(endpoint, tls="on")


def old_server(way: Way) -> Any:
    with way.server.faults.inject("Info", Corrupt("nothing")):
        way.check()


def no_metadata_database(way: Way) -> Any:
    with way.server.faults.inject("SQLQuery", Answer(440, "no connection to the database")):
        way.check()


def no_connection(way: Way) -> Any:
    return BTrDBHook("misspelt").get_client()


A = "Airflow connection '…': "
CASES: dict[str, Callable[[Way], Any]] = {
    "DNS does not know the host '…' (…)": lambda way: way.check(host="no-such-host.invalid", proxy="off"),
    "DNS does not answer for '…' in time": silent_dns,
    "… refuses the connection: nothing listens there": lambda way: way.check(port=way.closed_port),
    "… does not answer in time: a firewall may be in between, or the address is wrong": dropped_packets,
    "the proxy … (from …): … refuses the connection: nothing listens there": lambda way: way.check(
        **ANYWHERE, proxy=f"http://127.0.0.1:{way.closed_port}"
    ),
    "the proxy … (from …) refuses to connect to …: HTTP/1.1 407 …": refusing_proxy,
    "…: the server's certificate, issued by '…', is refused: self-signed certificate…": lambda way: way.check(
        way.tls_server.endpoint, tls="on"
    ),
    "…: the server's certificate, issued by '…', is refused: Hostname mismatch, …": lambda way: way.check(
        way.tls_server.endpoint, tls="on", ca_bundle=way.certificate, authority="other.test"
    ),
    "…: no TLS is spoken there, or another kind (…)": no_tls_there,
    "…: the TLS handshake is not answered in time: is TLS spoken there?": silent_tls,
    "cannot reach BTrDB at … without TLS (…): …; it speaks TLS: turn TLS on": lambda way: way.check(
        way.tls_server.endpoint
    ),
    "cannot reach BTrDB at … without TLS (…): …; something else than BTrDB may listen there": another_program,
    "ca_bundle … cannot be read: …": lambda way: way.check(way.tls_server.endpoint, tls="on", ca_bundle="/no/such.pem"),
    "…: client_cert and client_key are not a PEM certificate and its unencrypted key": lambda way: way.check(
        way.tls_server.endpoint,
        tls="on",
        ca_bundle=way.certificate,
        client_cert=way.key,
        client_key=way.certificate,
    ),
    "the API key was refused: … (call Info, at …)": lambda way: way.check(password="other"),
    "the server wants an API key and none is configured: … (call Info, at …)": lambda way: way.check(password=""),
    "the server is BTrDB …; version 5 or newer is needed": old_server,
    "SQL fails: …": no_metadata_database,
    "there is no Airflow connection '…': add one of type btrdb, …": no_connection,
    A + "its type is '…', not 'btrdb'": lambda way: way.hook(conn_type="http"),
    A + "the host is empty; …": lambda way: way.hook(host=""),
    A + "an API key would go to … in clear text: turn TLS on, …": lambda way: way.hook(host="btrdb.test", tls="off"),
    A + "the extra '…' is unknown; did you mean '…'?": lambda way: way.hook(ca_bundel="/etc/ssl/btrdb.pem"),
    A + "client_cert and client_key go together: one of them is missing": lambda way: way.hook(
        tls="on", client_cert="/etc/ssl/client.pem"
    ),
    A + "api_key: the API key has characters that cannot be sent (…)": lambda way: way.hook(password="key\n"),
    A + "proxy is neither environment, off, nor a URL that begins with http://": lambda way: way.hook(
        proxy="socks5://127.0.0.1:1080"
    ),
}


@pytest.mark.parametrize("text", CASES)
def test_the_error_is_as_the_page_says(text: str, way: Way, troubled: Any) -> None:
    with pytest.raises(Exception) as caught:
        CASES[text](way)
    troubled.check(text, caught.value)


def test_the_page_has_these_errors_and_no_others(troubled: Any) -> None:
    assert list(CASES) == troubled.texts("The way to the server", "The Airflow connection")
