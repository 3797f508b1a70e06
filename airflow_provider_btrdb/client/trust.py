"""Whose certificates are trusted, and what is wrong with one that is not.

gRPC brings roots of its own and does not read the system's, so they are loaded here.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, endpoints_of, split_endpoint
from airflow_provider_btrdb.client.errors import InputError

_VARIABLES = ("BTRDB_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Arch, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, Red Hat
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS
)
"""The system's certificates in one file, where OpenSSL itself knows them as a folder only."""


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
    system = ssl.get_default_verify_paths().cafile or next((file for file in _SYSTEM if Path(file).exists()), None)
    return ("the system's certificates", system) if system else ("gRPC's own certificates", None)


def read_pem(path: str, what: str) -> bytes:
    """The bytes of a file that a setting names. Raises InputError."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None


class TlsProblem(Exception):
    """What a TLS handshake failed on, in one sentence."""

    def __init__(self, sentence: str, kind: Literal["certificate", "language", "silence", "files"]) -> None:
        super().__init__(sentence)
        self.kind = kind
        """A certificate that is not trusted, no TLS, no answer, or unusable files of our own."""


def tls_problem(config: ConnectionConfig) -> str | None:
    """What a TLS handshake with the first endpoint fails on, with the issuer seen; None if it works or nobody listens.

    Makes up to three connections, each within `connect_timeout`.
    """
    address = split_endpoint(endpoints_of(config.endpoint)[0])
    try:
        examine(config, address[0], lambda: socket.create_connection(address, timeout=config.connect_timeout))
    except TlsProblem as problem:
        return None if problem.kind == "silence" else str(problem)
    except OSError:
        return None
    return None


def examine(config: ConnectionConfig, host: str, connect: Callable[[], socket.socket]) -> str:
    """What a TLS handshake shows of a server, in words: version, issuer, whose trust counted.

    `connect` makes a connection to it, with a timeout. Raises TlsProblem, and what `connect` raises.
    """
    assert config.tls is not None
    roots = roots_of(config.tls)
    name = config.authority or host
    try:
        version, certificate = _handshake(_context(config.tls, roots), connect(), name)
    except ssl.SSLCertVerificationError as error:
        issuer = _issuer(connect, name)
        raise TlsProblem(
            f"the server's certificate, issued by {issuer}, is refused: {error.verify_message}", "certificate"
        ) from None
    except ssl.SSLError as error:
        raise TlsProblem(f"no TLS is spoken there, or another kind ({error.reason or error})", "language") from None
    except TimeoutError:
        raise TlsProblem("the TLS handshake is not answered in time: is TLS spoken there?", "silence") from None
    except ConnectionError as error:
        raise TlsProblem(
            f"the connection is closed during the TLS handshake ({error.strerror or error})", "silence"
        ) from None
    return f"{version}, certificate for {name} issued by {_issuer_in(certificate)}, trusted by {roots.source}"


def _context(tls: TlsConfig, roots: Roots) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=None if roots.pem is None else roots.pem.decode("ascii", "replace"))
    context.set_alpn_protocols(["h2"])
    if tls.client_cert is not None and tls.client_key is not None:
        try:
            context.load_cert_chain(tls.client_cert, tls.client_key, password="")
        except (OSError, ValueError):
            raise TlsProblem(
                "client_cert and client_key are not a PEM certificate and its unencrypted key", "files"
            ) from None
    return context


def _handshake(context: ssl.SSLContext, plain: socket.socket, name: str) -> tuple[str | None, Any]:
    """The TLS version, and the certificate that the server shows: parsed if it was verified, else as DER."""
    with plain, context.wrap_socket(plain, server_hostname=name) as encrypted:
        return encrypted.version(), encrypted.getpeercert(binary_form=context.verify_mode is ssl.CERT_NONE)


def _issuer(connect: Callable[[], socket.socket], name: str) -> str:
    """The issuer's name in the certificate that the server shows; read by trusting just this one certificate."""
    try:
        blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE  # to look at what is shown; nothing is sent
        _, shown = _handshake(blind, connect(), name)
        context = ssl.create_default_context(cadata=shown)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _, certificate = _handshake(context, connect(), name)
    except OSError:
        return "an unknown issuer"
    return _issuer_in(certificate)


def _issuer_in(certificate: Any) -> str:
    parts = {key: value for pairs in certificate.get("issuer", ()) for key, value in pairs}
    return repr(parts.get("commonName") or parts.get("organizationName") or "an unnamed issuer")
