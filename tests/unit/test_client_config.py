"""Settings of a connection: what is accepted, what is refused and with which sentence, and that secrets stay inside."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_btrdb.client import _config
from airflow_provider_btrdb.client.channel import USER_AGENT, bearer, channel_settings
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, is_loopback, split_endpoint
from airflow_provider_btrdb.client.errors import InputError

SECRET = "k3y-that-nobody-may-see"


@pytest.mark.parametrize(
    ("endpoint", "host", "port"),
    [
        ("localhost:4410", "localhost", 4410),
        ("btrdb.example.org:1", "btrdb.example.org", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("[::1]:4411", "::1", 4411),
        ("[2001:db8::7]:4410", "2001:db8::7", 4410),
    ],
)
def test_endpoints(endpoint: str, host: str, port: int) -> None:
    assert split_endpoint(endpoint) == (host, port)
    assert channel_settings(ConnectionConfig(endpoint=endpoint)).targets == (f"dns:///{endpoint}",)


def test_several_endpoints_stay_in_order() -> None:
    config = ConnectionConfig(endpoint=" localhost:1, [::1]:2;127.0.0.1:3,\n", api_key=SECRET)
    assert channel_settings(config).targets == ("dns:///localhost:1", "dns:///[::1]:2", "dns:///127.0.0.1:3")
    for bad in ("localhost:1,other", "localhost:1,,b:0", "h:1;x y:1"):
        with pytest.raises(InputError):
            ConnectionConfig(endpoint=bad)


def test_one_endpoint_of_several_that_is_elsewhere_forbids_clear_text() -> None:
    with pytest.raises(InputError, match="in clear text"):
        ConnectionConfig(endpoint="localhost:1,btrdb.example.org:1", api_key=SECRET)


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "localhost",
        ":4410",
        "localhost:",
        "localhost:x",
        "localhost:-1",
        "localhost:+1",
        "localhost: 1",
        "local host:1",
        "localhost:123456",
        "::1:4410",
        "[::1]",
        "[]:4410",
        "[localhost]:4410",
        "http://localhost:4410",
        "localhost:4410/x",
        ",",
        " ; ",
        "a:1 b:2",
    ],
)
def test_garbage_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(InputError, match="is not host:port"):
        ConnectionConfig(endpoint=endpoint)


@pytest.mark.parametrize("endpoint", ["localhost:٤٤١٠", "[:::]:4410", "[1.2.3.4]:4410"])
def test_near_misses_are_no_endpoints_either(endpoint: str) -> None:
    with pytest.raises(InputError, match="is not host:port"):
        ConnectionConfig(endpoint=endpoint)


@pytest.mark.parametrize("port", [0, 65536, 99999])
def test_a_port_is_1_to_65535(port: int) -> None:
    with pytest.raises(InputError, match=f"{port} is not a port"):
        ConnectionConfig(endpoint=f"localhost:{port}")


# ---------------------------------------------------------------- the API key


@pytest.mark.parametrize(
    "endpoint", ["btrdb.example.org:4410", "10.0.0.1:4411", "[2001:db8::7]:4410", "localhost.evil:1"]
)
def test_a_key_does_not_leave_the_machine_in_clear_text(endpoint: str) -> None:
    with pytest.raises(InputError, match="in clear text: turn TLS on, or set insecure_api_key") as caught:
        ConnectionConfig(endpoint=endpoint, api_key=SECRET)
    assert SECRET not in str(caught.value)
    ConnectionConfig(endpoint=endpoint, api_key=SECRET, tls=TlsConfig())
    ConnectionConfig(endpoint=endpoint, api_key=SECRET, insecure_api_key=True)
    ConnectionConfig(endpoint=endpoint)
    ConnectionConfig(endpoint=endpoint, api_key="")


@pytest.mark.parametrize("endpoint", ["localhost:1", "127.0.0.1:1", "127.8.9.10:1", "[::1]:1"])
def test_a_key_may_go_to_this_machine(endpoint: str) -> None:
    assert ConnectionConfig(endpoint=endpoint, api_key=SECRET).api_key == SECRET


@pytest.mark.parametrize(
    "host", ["localhost.", "LOCALHOST.evil.org", "0.0.0.0", "128.0.0.1", "::2", "", "127.0.0.1.nip.io"]
)
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("bad", [" ", "\n", "\r\nx-admin: 1", "\t", "ü", "\x7f", "\x00", "\x1f", "\x80"])
def test_a_key_is_header_text(bad: str) -> None:
    for key in (SECRET + bad, bad + SECRET, SECRET + bad + SECRET):
        with pytest.raises(InputError, match="characters that cannot be sent") as caught:
            ConnectionConfig(endpoint="localhost:1", api_key=key)
        assert SECRET not in str(caught.value)


def test_every_character_that_can_be_sent_may_be_in_a_key() -> None:
    key = "".join(map(chr, range(0x21, 0x7F)))
    assert ConnectionConfig(endpoint="localhost:1", api_key=key).api_key == key


def test_the_key_is_in_no_repr() -> None:
    config = ConnectionConfig(endpoint="localhost:4410", api_key=SECRET)
    assert SECRET not in repr(config)
    assert "localhost:4410" in repr(config)


def test_the_key_travels_with_every_call_and_only_then() -> None:
    assert bearer(SECRET) == (("authorization", f"Bearer {SECRET}"),)
    assert bearer(None) == bearer("") == ()
    assert SECRET not in repr(channel_settings(ConnectionConfig(endpoint="localhost:4410", api_key=SECRET)))


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("name", ["connect_timeout", "request_timeout", "stream_timeout"])
@pytest.mark.parametrize("seconds", [0, -1.0, float("nan")])
def test_a_timeout_is_more_than_nothing(name: str, seconds: float) -> None:
    settings: dict[str, Any] = {name: seconds}
    with pytest.raises(InputError, match=f"{name} is .* must be more than 0 seconds"):
        ConnectionConfig(endpoint="localhost:1", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"retry_total": -0.5},
        {"max_in_flight": 0},
        {"proxy": "socks5://p:1"},
        {"proxy": ""},
    ],
)
def test_numbers_and_proxies_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        ConnectionConfig(endpoint="localhost:1", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"retry_total": float("nan")},
        {"connect_timeout": float("inf")},
        {"stream_timeout": "10"},
        {"max_in_flight": 1.5},
        {"max_message_bytes": 0},
        {"api_key": b"key"},
        {"proxy": None},
        {"endpoint": None},
        {"tls": True},
    ],
)
def test_wrong_types_and_endless_times_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        ConnectionConfig(**{"endpoint": "localhost:1", **settings})


def test_a_proxys_password_is_never_shown() -> None:
    config = ConnectionConfig(endpoint="localhost:1", proxy=f"http://me:{SECRET}@proxy:3128")
    assert SECRET not in repr(config)
    with pytest.raises(InputError, match="begins with http://") as caught:
        ConnectionConfig(endpoint="localhost:1", proxy=f"https://me:{SECRET}@proxy:3128")
    assert SECRET not in str(caught.value)


# ---------------------------------------------------------------- TLS and channel settings


def test_certificate_and_key_go_together() -> None:
    for settings in ({"client_cert": "a.pem"}, {"client_key": "a.pem"}):
        with pytest.raises(InputError, match="client_cert and client_key go together"):
            TlsConfig(**settings)


def test_an_unreadable_file_is_named() -> None:
    config = ConnectionConfig(endpoint="localhost:1", tls=TlsConfig(ca_bundle="/nowhere/ca.pem"))
    with pytest.raises(InputError, match=r"ca_bundle /nowhere/ca\.pem cannot be read: No such file"):
        channel_settings(config)


def test_tls_is_decided_by_the_setting_never_by_the_port() -> None:
    assert channel_settings(ConnectionConfig(endpoint="localhost:4411")).credentials is None
    assert channel_settings(ConnectionConfig(endpoint="localhost:4410", tls=TlsConfig())).credentials is not None


@pytest.mark.parametrize(
    ("tls", "expected"),
    [(True, TlsConfig()), (None, None), (False, None), (TlsConfig(ca_bundle="x"), TlsConfig(ca_bundle="x"))],
)
def test_tls_of_connect(tls: Any, expected: TlsConfig | None) -> None:
    assert _config("localhost:1", None, tls, {"retry_total": 0.0}).tls == expected


@pytest.mark.parametrize(
    ("endpoint", "proxy", "expected"),
    [
        ("localhost:1", "environment", {"grpc.enable_http_proxy": 0}),
        ("localhost:1", "http://proxy:3128", {"grpc.enable_http_proxy": 0}),
        ("h:1", "off", {"grpc.enable_http_proxy": 0}),
        ("h:1", "environment", {}),
        ("h:1", "http://proxy:3128", {"grpc.http_proxy": "http://proxy:3128"}),
    ],
)
def test_proxies(endpoint: str, proxy: str, expected: dict[str, Any]) -> None:
    options = dict(channel_settings(ConnectionConfig(endpoint=endpoint, proxy=proxy)).options)
    assert {name: value for name, value in options.items() if "proxy" in name} == expected


def test_channel_options() -> None:
    config = ConnectionConfig(endpoint="localhost:1", max_message_bytes=123, authority="inside")
    options = dict(channel_settings(config).options)
    assert options["grpc.max_receive_message_length"] == 123
    assert options["grpc.max_send_message_length"] == -1
    assert options["grpc.enable_retries"] == 0
    assert options["grpc.primary_user_agent"] == USER_AGENT
    assert USER_AGENT.startswith("airflow-provider-btrdb/")
    assert options["grpc.default_authority"] == options["grpc.ssl_target_name_override"] == "inside"
