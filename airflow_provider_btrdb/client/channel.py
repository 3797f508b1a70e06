"""ConnectionConfig -> what gRPC needs to open a channel, for both modes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from airflow_provider_btrdb import __version__
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, is_loopback
from airflow_provider_btrdb.client.errors import InputError

USER_AGENT = f"airflow-provider-btrdb/{__version__} python/{platform.python_version()}"


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Arguments of `insecure_channel` (credentials is None) or `secure_channel`, and the metadata of every call."""

    target: str
    credentials: Any
    options: list[tuple[str, Any]]
    metadata: tuple[tuple[str, str], ...]


def channel_settings(config: ConnectionConfig) -> ChannelSettings:
    """Reads the certificate files; no other I/O. Raises InputError naming a file that cannot be read."""
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", -1),  # the server's limit counts, and its refusal names it
        ("grpc.primary_user_agent", USER_AGENT),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.enable_retries", 0),  # repeats are decided here, where it is known which are safe
    ]
    if config.proxy == "off" or is_loopback(config.host):
        options.append(("grpc.enable_http_proxy", 0))
    elif config.proxy != "environment":
        options.append(("grpc.http_proxy", config.proxy))
    if config.authority is not None:
        options.append(("grpc.default_authority", config.authority))
        options.append(("grpc.ssl_target_name_override", config.authority))
    # Always plain metadata: gRPC's call credentials would refuse to travel without TLS.
    metadata = (("authorization", f"Bearer {config.api_key}"),) if config.api_key else ()
    return ChannelSettings(config.endpoint, _credentials(config.tls), options, metadata)


def _credentials(tls: TlsConfig | None) -> Any:
    if tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca_bundle, "ca_bundle"),
        private_key=_read(tls.client_key, "client_key"),
        certificate_chain=_read(tls.client_cert, "client_cert"),
    )


def _read(path: str | None, what: str) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror}") from None
