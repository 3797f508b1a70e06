"""The way to a server: whose certificates are trusted in which order, client certificates, proxies, large replies."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import numpy as np
import pytest

from airflow_provider_btrdb.client import Points, TlsConfig, connect, connect_async, errors
from airflow_provider_btrdb.client import trust as trust_module
from airflow_provider_btrdb.protocol import METHODS, SERVICE

pytestmark = pytest.mark.anyio

STORES = ("BTRDB_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "SSL_CERT_FILE")
"""The last one is where OpenSSL is told that the system's certificates are."""


@pytest.fixture(params=["sync", "async"])
def opened(request: pytest.FixtureRequest, done: Any, one_loop: None) -> Any:
    """`async with opened(...) as db`: a connection of either mode."""

    @contextlib.asynccontextmanager
    async def open_one(*arguments: Any, **options: Any) -> Any:
        db = await done((connect if request.param == "sync" else connect_async)(*arguments, **options))
        try:
            yield db
        finally:
            await done(db.close())

    return open_one


# ---------------------------------------------------------------- trust


@pytest.fixture
def other_store(tmp_path: Path) -> str:
    """Certificates that did not sign the server's."""
    from cryptography.hazmat.primitives.asymmetric import ec

    path = tmp_path / "others.pem"
    path.write_bytes(self_signed("Somebody Else", ec.generate_private_key(ec.SECP256R1()))[0])
    return str(path)


def self_signed(name: str, key: Any) -> tuple[bytes, bytes]:
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    signed = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    encodings = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return (
        signed.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(*encodings),
    )


def set_stores(monkeypatch: pytest.MonkeyPatch, first: int, counts: str, others: str) -> TlsConfig:
    """One certificate at place `first` (0 is the argument), the other one in all stores after it, none before it."""
    for place, name in enumerate(STORES, start=1):
        if place < first:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, counts if place == first else others)
    return TlsConfig(ca_bundle=counts if first == 0 else None)


@pytest.mark.parametrize("first", [0, 1, 2, 3])
async def test_the_first_store_that_is_named_counts(
    tls_endpoint: str, certificate: Any, other_store: str, opened: Any, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    trust = set_stores(monkeypatch, first, str(certificate[0]), other_store)
    async with opened(tls_endpoint, "tls-key", trust) as db:
        assert db.config.tls is trust


@pytest.mark.parametrize("first", [0, 1, 2, 3])
async def test_an_error_names_the_store_that_counted_and_the_issuer_seen(
    tls_endpoint: str, certificate: Any, other_store: str, opened: Any, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    trust = set_stores(monkeypatch, first, other_store, str(certificate[0]))
    with pytest.raises(errors.ServerUnavailableError) as caught:
        async with opened(tls_endpoint, "tls-key", trust, retry_total=0):
            pass
    words = ("ca_bundle", *STORES[:2], "the system's certificates")[first]
    assert f"is its certificate trusted by {words} {other_store}?" in str(caught.value)
    assert "issued by 'The Test Authority'" in str(caught.value)
    assert "tls-key" not in str(caught.value)


def test_the_systems_certificates_are_found_where_openssl_knows_a_folder_only(
    monkeypatch: pytest.MonkeyPatch, certificate: Any, tmp_path: Path
) -> None:
    for name in STORES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing.pem"))
    monkeypatch.setattr(trust_module, "_SYSTEM", (str(tmp_path / "no.pem"), str(certificate[0])))
    roots = trust_module.roots_of(TlsConfig())
    assert roots.pem == certificate[0].read_bytes()
    assert roots.source == f"the system's certificates {certificate[0]}"
    monkeypatch.setattr(trust_module, "_SYSTEM", ())
    assert trust_module.roots_of(TlsConfig()) == trust_module.Roots(None, "gRPC's own certificates")


@pytest.fixture
def strict(certificate: Any, tmp_path: Path) -> Iterator[Any]:
    """A server that asks clients for a certificate, and a client's certificate and key that it trusts."""
    from cryptography.hazmat.primitives.asymmetric import ec

    cert, key = self_signed("client", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "client.pem").write_bytes(cert)
    (tmp_path / "client.key").write_bytes(key)
    seen: list[Any] = []

    def info(request: Any, context: grpc.ServicerContext) -> bytes:
        seen.append(context.auth_context().get("x509_common_name"))
        return bytes(METHODS["Info"].response(major_version=5, minor_version=31).SerializeToString())

    with ThreadPoolExecutor(2) as workers:
        server = grpc.server(workers)
        handlers = {"Info": grpc.unary_unary_rpc_method_handler(info, METHODS["Info"].request.FromString)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        credentials = grpc.ssl_server_credentials(
            [(certificate[1].read_bytes(), certificate[0].read_bytes())], cert, require_client_auth=True
        )
        port = server.add_secure_port("127.0.0.1:0", credentials)
        server.start()
        yield f"127.0.0.1:{port}", str(tmp_path / "client.pem"), str(tmp_path / "client.key"), seen
        server.stop(None).wait()


async def test_client_certificates(strict: Any, certificate: Any, opened: Any) -> None:
    endpoint, cert, key, seen = strict
    trust = TlsConfig(ca_bundle=str(certificate[0]), client_cert=cert, client_key=key)
    async with opened(endpoint, tls=trust) as db:
        assert db.config.tls is trust
    assert seen == [[b"client"]]
    with pytest.raises(errors.ServerUnavailableError):
        async with opened(endpoint, tls=TlsConfig(ca_bundle=str(certificate[0])), retry_total=0):
            pass
    assert len(seen) == 1


# ---------------------------------------------------------------- proxies


class Tunnel:
    """An HTTP proxy that connects every CONNECT with one server, and remembers what was asked for."""

    def __init__(self, endpoint: str) -> None:
        host, port = endpoint.rsplit(":", 1)
        self._to = (host, int(port))
        self.asked: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://me:proxy-password@127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = client.recv(1)
            if not more:
                return
            head += more
        self.asked.append(head.split(b"\r\n")[0].decode())
        server = socket.create_connection(self._to)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        ways = [
            threading.Thread(target=self._pump, args=pair, daemon=True) for pair in ((client, server), (server, client))
        ]
        for way in ways:
            way.start()

    @staticmethod
    def _pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def tunnel(target: Any) -> Iterator[Tunnel]:
    made = Tunnel(target.endpoint)
    yield made
    made.close()


FAR = "btrdb.invalid:4410"
"""A name that no name server knows: only a proxy could reach it."""
NO_NAME = f"{'x' * 64}.invalid:4410"
"""A name that no name server is asked for, as its first part is too long: nobody waits for an answer."""


@pytest.mark.parametrize("how", ["option", "http_proxy", "grpc_proxy"])
async def test_a_proxy_is_gone_through(
    target: Any, tunnel: Tunnel, opened: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    clear_proxies(monkeypatch)
    options = {"proxy": tunnel.url} if how == "option" else {}
    if how != "option":
        monkeypatch.setenv(how, tunnel.url)
    async with opened(FAR, target.api_key, insecure_api_key=True, **options) as db:
        assert db.config.endpoint == FAR
    assert set(tunnel.asked) == {f"CONNECT {FAR} HTTP/1.1"}


@pytest.mark.parametrize("how", ["off", "loopback"])
async def test_a_proxy_is_not_gone_through(
    target: Any, tunnel: Tunnel, opened: Any, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    clear_proxies(monkeypatch)
    monkeypatch.setenv("http_proxy", tunnel.url)
    if how == "loopback":
        async with opened(target.endpoint, target.api_key) as db:
            assert db.config.proxy == "environment"
        async with opened(target.endpoint, target.api_key, proxy=tunnel.url):
            pass
    else:
        with pytest.raises(errors.ServerUnavailableError) as caught:
            async with opened(NO_NAME, "k", insecure_api_key=True, proxy="off", retry_total=0):
                pass
        assert "through the proxy" not in str(caught.value)
    assert tunnel.asked == []


async def test_a_proxy_that_does_not_answer_is_named(opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clear_proxies(monkeypatch)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(errors.ServerUnavailableError, match=f"through the proxy {place}") as caught:
            async with opened(FAR, proxy=f"http://me:proxy-password@{place}", retry_total=0):
                pass
    assert "proxy-password" not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


def clear_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy", "no_grpc_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)


# ---------------------------------------------------------------- large replies


@pytest.mark.parametrize("arrow", ["on", "off"])
async def test_a_reply_over_the_limit_names_the_option(
    target: Any, done: Any, opened: Any, collection: str, arrow: str
) -> None:
    async with opened(target.endpoint, target.api_key) as db:
        stream = await done(db.create(uuid4(), collection, {"name": "s"}))
        await done(stream.insert(Points(np.arange(5000), np.sqrt(np.arange(5000)))))
        assert len(await done(stream.values())) == 5000
    async with opened(target.endpoint, target.api_key, max_message_bytes=2**14, arrow=arrow) as small:
        with pytest.raises(errors.MessageTooLargeError, match=r"max_message_bytes, 0\.015625 MiB") as caught:
            await done((await done(small.stream_from_uuid(stream.uuid))).values())
        assert not caught.value.retryable
