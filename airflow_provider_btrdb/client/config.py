"""Where a BTrDB server is and how to talk to it, as frozen values. No I/O happens here."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_provider_btrdb.client.errors import InputError

_ENDPOINT = re.compile(r"^(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")


NewApiKey = Callable[[], Any]
"""Gives the newest API key (text or None; for asyncio it may be awaited); asked once after the server refused a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """How to trust the server and, optionally, how to be trusted by it. Fields are paths of PEM files."""

    ca_bundle: str | None = None
    """Certificates to trust; None: BTRDB_CA_BUNDLE, else GRPC_DEFAULT_SSL_ROOTS_FILE_PATH, else the system's."""
    client_cert: str | None = None
    client_key: str | None = None

    def __post_init__(self) -> None:
        if (self.client_cert is None) != (self.client_key is None):
            raise InputError("client_cert and client_key go together: one of them is missing")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionConfig:
    """Where a BTrDB server is and how to talk to it. Times are seconds."""

    endpoint: str
    """`host:port`; IPv6 in brackets. Several, with commas between them, are tried in turn."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as `authorization: Bearer KEY` with every call; never shown."""
    tls: TlsConfig | None = None
    """None means plain text; the port number never decides."""
    authority: str | None = None
    """The name that the server's certificate carries, where it is not the host's."""
    proxy: str = field(default="environment", repr=False)
    """`environment` (what http_proxy and no_proxy say), `off`, or the URL of an HTTP proxy; never used for loopback.

    A URL may hold a password, so it is never shown."""
    insecure_api_key: bool = False
    """Send the API key without TLS to a host that is not this machine."""
    connect_timeout: float = 10.0
    """For the first call, which shows whether the server is there."""
    request_timeout: float = 30.0
    """For one attempt of a call that returns one reply."""
    stream_timeout: float = 600.0
    """For one attempt of a call that returns pages; reads of points go on where an attempt ended."""
    retry_total: float = 120.0
    """For one operation with all its attempts and pauses; 0 never repeats."""
    max_in_flight: int = 64
    """Calls under way at once; of a synchronous client, its bulk operations count for themselves."""
    max_rps: float | None = None
    """Calls started in one second; None is no limit. After the server asked for fewer, fewer are started anyway."""
    max_message_bytes: int = 64 * 2**20
    """The largest reply that is accepted."""

    arrow: Literal["auto", "on", "off"] = "auto"
    """Read points in Arrow: always, never, or when pyarrow is loaded anyway; in all cases only if the server can."""

    def __post_init__(self) -> None:
        hosts = [split_endpoint(endpoint)[0] for endpoint in endpoints_of(self.endpoint)]
        for name in ("connect_timeout", "request_timeout", "stream_timeout"):
            if not (_is_number(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} is {getattr(self, name)!r} and must be more than 0 seconds")
        if not _is_text(self.proxy):
            raise InputError("proxy must be text")
        if not isinstance(self.tls, TlsConfig | None):
            raise InputError(f"tls is {self.tls!r} and must be a TlsConfig or None")
        if self.proxy not in ("environment", "off") and not self.proxy.startswith("http://"):
            raise InputError("proxy is neither environment, off, nor a URL that begins with http://")
        if not (_is_number(self.retry_total) and self.retry_total >= 0):
            raise InputError(f"retry_total is {self.retry_total!r} and must be a number of seconds, 0 or more")
        if self.max_rps is not None and not (_is_number(self.max_rps) and self.max_rps > 0):
            raise InputError(f"max_rps is {self.max_rps!r} and must be more than 0")
        for name in ("max_in_flight", "max_message_bytes"):
            if not _is_whole(getattr(self, name)) or getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r} and must be a whole number, at least 1")
        if self.api_key is not None and not _is_header_text(self.api_key):
            raise InputError(
                "api_key: the API key has characters that cannot be sent (spaces, line breaks or non-ASCII text)"
            )
        if self.api_key and self.tls is None and not self.insecure_api_key and not all(map(is_loopback, hosts)):
            raise InputError(
                f"an API key would go to {self.endpoint} in clear text: turn TLS on, or set insecure_api_key "
                "if the way there is safe by other means"
            )


def endpoints_of(text: str) -> tuple[str, ...]:
    """A list of endpoints with commas or semicolons between them, in its order. Raises InputError for an empty one."""
    parts = text.replace(";", ",").split(",") if _is_text(text) else ()
    endpoints = tuple(part.strip() for part in parts if part.strip())
    if not endpoints:
        raise InputError(f"endpoint {text!r} is not host:port")
    return endpoints


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """`host:port` or `[ipv6]:port` -> host, port. Raises InputError for anything else."""
    match = _ENDPOINT.fullmatch(endpoint) if _is_text(endpoint) else None
    if match is None or (match["six"] is not None and not _is_ipv6(match["six"])):
        raise InputError(f"endpoint {endpoint!r} is not host:port (an IPv6 address goes in brackets)")
    port = int(match["port"])
    if not 0 < port < 2**16:
        raise InputError(f"endpoint {endpoint!r}: {port} is not a port")
    return match["six"] or match["host"], port


def is_loopback(host: str) -> bool:
    """Does the name or address mean this machine? Names are judged as text, never looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_ipv6(text: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(text), ipaddress.IPv6Address)
    except ValueError:
        return False


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_whole(value: object) -> bool:
    return isinstance(value, int)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_header_text(key: str) -> bool:
    return _is_text(key) and all("!" <= character <= "~" for character in key)
