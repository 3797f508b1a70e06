"""Whose certificates are trusted, and what is wrong with one that is not.

gRPC brings roots of its own and does not read the system's, so they are loaded here.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, endpoints_of, split_endpoint
from airflow_provider_btrdb.client.errors import InputError

_VARIABLES = ("BTRDB_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")


@dataclass(frozen=True, slots=True)
class Roots:
    """Trusted certificates in PEM, and where they come from; None leaves the choice to gRPC."""

    pem: bytes | None
    source: str


def roots_of(tls: TlsConfig) -> Roots:
    """The first there is: `ca_bundle`, BTRDB_CA_BUNDLE, GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, the system's, gRPC's own.

    Raises InputError naming a file that was asked for and cannot be read.
    """
    what, path = _choice(tls)
    return Roots(None if path is None else read_pem(path, what), source_of(tls))


def source_of(tls: TlsConfig) -> str:
    """Where the roots come from, in words; reads nothing."""
    what, path = _choice(tls)
    return what if path is None else f"{what} {path}"


def _choice(tls: TlsConfig) -> tuple[str, str | None]:
    if tls.ca_bundle is not None:
        return "ca_bundle", tls.ca_bundle
    for name in _VARIABLES:
        if os.environ.get(name):
            return name, os.environ[name]
    system: str | None = ssl.get_default_verify_paths().cafile
    return ("the system's certificates", system) if system else ("gRPC's own certificates", None)


def read_pem(path: str, what: str) -> bytes:
    """The bytes of a file that a setting names. Raises InputError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None


def tls_problem(config: ConnectionConfig) -> str | None:
    """What a TLS handshake with the first endpoint fails on, with the issuer seen; None if it works or nobody listens.

    Makes up to two connections, each within `connect_timeout`.
    """
    assert config.tls is not None
    address = split_endpoint(endpoints_of(config.endpoint)[0])
    roots = roots_of(config.tls)
    context = ssl.create_default_context(cadata=None if roots.pem is None else roots.pem.decode("ascii", "replace"))
    context.set_alpn_protocols(["h2"])
    name = config.authority or address[0]
    try:
        _handshake(context, address, name, config.connect_timeout)
    except ssl.SSLCertVerificationError as error:
        issuer = _issuer(address, name, config.connect_timeout)
        return f"the server's certificate, issued by {issuer}, is refused: {error.verify_message}"
    except ssl.SSLError as error:
        return f"no TLS is spoken there, or another kind ({error.reason or error})"
    except OSError:
        return None
    return None


def _handshake(context: ssl.SSLContext, address: tuple[str, int], name: str, seconds: float) -> Any:
    """The certificate that the server shows, as far as it was verified."""
    with (
        socket.create_connection(address, timeout=seconds) as plain,
        context.wrap_socket(plain, server_hostname=name) as encrypted,
    ):
        return encrypted.getpeercert()


def _issuer(address: tuple[str, int], name: str, seconds: float) -> str:
    """The issuer's name in the certificate that the server shows; read by trusting just this one certificate."""
    try:
        shown = ssl.get_server_certificate(address, timeout=seconds)
        context = ssl.create_default_context(cadata=shown)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        certificate = _handshake(context, address, name, seconds)
    except OSError:
        return "an unknown issuer"
    parts = {key: value for pairs in certificate.get("issuer", ()) for key, value in pairs}
    return repr(parts.get("commonName") or parts.get("organizationName") or "an unnamed issuer")
