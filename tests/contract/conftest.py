"""One server for all contract tests of a worker, and the client in both modes over it.

With BTRDB_TEST_ENDPOINT (and BTRDB_TEST_API_KEY) set, the client tests run against that server instead of ours. They
touch collections below `contract-test/` only.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import warnings
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb.client import connect, connect_async
from airflow_provider_btrdb.testing import devserver_process


@dataclass(frozen=True)
class Target:
    endpoint: str
    api_key: str | None


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    endpoint = os.environ.get("BTRDB_TEST_ENDPOINT")
    if endpoint:
        yield Target(endpoint, os.environ.get("BTRDB_TEST_API_KEY"))
        return
    # A process of its own: two asyncio loops with gRPC in one process make older grpcio log spurious errors.
    with devserver_process(api_key="contract-key") as server:
        yield Target(server.endpoint, "contract-key")


@pytest.fixture(params=["sync", "async"])
async def db(request: pytest.FixtureRequest, target: Target, one_loop: None) -> AsyncIterator[Any]:
    """A BTrDB or an AsyncBTrDB; tests await what it returns with `done` and read its iterators with `items`."""
    if request.param == "sync":
        with connect(target.endpoint, target.api_key) as connection:
            yield connection
    else:
        async with await connect_async(target.endpoint, target.api_key) as connection:
            yield connection


@pytest.fixture
def collection() -> str:
    """A collection of the test's own."""
    return f"contract-test/{uuid4()}"


@pytest.fixture
def official(target: Target) -> Any:
    """A connection of the official client to the same server."""
    btrdb = pytest.importorskip("btrdb", reason="needs the official client")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return btrdb.connect(target.endpoint, apikey=target.api_key)


@pytest.fixture
def filled(db: Any, done: Any, collection: str) -> Any:
    """`await filled(points)`: a new stream `s` in V with these points."""

    async def make(points: Any) -> Any:
        stream = await done(db.create(uuid4(), collection, {"name": "s", "unit": "V"}, {"site": "north"}))
        await done(stream.insert(points))
        return stream

    return make


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for `btrdb.test`, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The Test Authority")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("btrdb.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encodings = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(*encodings))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def tls_endpoint(certificate: tuple[Path, Path]) -> Iterator[str]:
    with devserver_process(api_key="tls-key", tls=certificate) as server:
        yield server.endpoint
