"""ConnectionConfig -> what gRPC needs to open a channel, for both modes."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Any

import grpc

from airflow_provider_btrdb import __version__
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, endpoints_of, is_loopback, split_endpoint
from airflow_provider_btrdb.client.trust import read_pem, roots_of

USER_AGENT = f"airflow-provider-btrdb/{__version__} python/{platform.python_version()}"


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Arguments of `insecure_channel` (credentials is None) or `secure_channel` for every endpoint."""

    targets: tuple[str, ...]
    credentials: Any
    options: list[tuple[str, Any]]


def channel_settings(config: ConnectionConfig) -> ChannelSettings:
    """Reads the certificate files; no other I/O. Raises InputError naming a file that cannot be read."""
    targets = endpoints_of(config.endpoint)
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        # How much the server may send ahead of a reader. gRPC would measure the network and let it send 8 MiB and more,
        # all of it memory; with 2 MiB a reader 50 ms away still gets 40 MB/s.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 2 * 2**20),
        ("grpc.max_send_message_length", -1),  # the server's limit counts, and its refusal names it
        ("grpc.primary_user_agent", USER_AGENT),
        ("grpc.keepalive_time_ms", 300_000),  # servers in Go end connections that ping more often
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.enable_retries", 0),  # repeats are decided here, where it is known which are safe
    ]
    if config.proxy == "off" or all(is_loopback(split_endpoint(target)[0]) for target in targets):
        options.append(("grpc.enable_http_proxy", 0))
    elif config.proxy != "environment":
        options.append(("grpc.http_proxy", config.proxy))
    if config.authority is not None:
        options.append(("grpc.default_authority", config.authority))
        options.append(("grpc.ssl_target_name_override", config.authority))
    # With the scheme spelled out no host name can be mistaken for one.
    return ChannelSettings(tuple(f"dns:///{target}" for target in targets), _credentials(config.tls), options)


def bearer(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The metadata of every call. Plain metadata: gRPC's own call credentials would refuse to travel without TLS."""
    return (("authorization", f"Bearer {api_key}"),) if api_key else ()


def _credentials(tls: TlsConfig | None) -> Any:
    if tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=roots_of(tls).pem,
        private_key=None if tls.client_key is None else read_pem(tls.client_key, "client_key"),
        certificate_chain=None if tls.client_cert is None else read_pem(tls.client_cert, "client_cert"),
    )
