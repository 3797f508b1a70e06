"""The fields of an Airflow connection -> ConnectionConfig. Reads no files and asks nobody."""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow_provider_btrdb._airflow import Connection
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import ConnectionConfig

CONN_TYPE = "btrdb"
TLS_PORT = 4411
PLAIN_PORT = 4410

_FORM: Any = CONNECTION_FORM
FIELDS: Mapping[str, Any] = _FORM["conn-fields"]
"""The extras: name -> label, description and JSON schema."""

_SECURITY_FIELDS = ("tls", "ca_bundle", "client_cert", "client_key", "authority", "insecure_key")
_NUMBERS = ("connect_timeout", "request_timeout", "retry_total", "max_in_flight", "max_rps", "max_message_mb")


def config_of(connection: Connection, extra: Mapping[str, Any]) -> ConnectionConfig:
    """What the connection says, `extra` being its extra as a dictionary.

    Raises InputError naming the connection and the field. An unknown extra is a warning, or an error where it looks
    like a misspelt security setting.
    """
    from airflow_provider_btrdb.client.errors import InputError

    try:
        return _config_of(connection, extra)
    except InputError as error:
        # The client's name for the extra; ours is another one, because Airflow shows whatever has api_key in its name,
        # a switch too, as asterisks.
        message = error.message.replace("insecure_api_key", "insecure_key")
        raise InputError(f"Airflow connection {connection.conn_id!r}: {message}") from None


def secrets_of(config: ConnectionConfig) -> set[str]:
    """What must not be seen in a log: the API key as it is and as a URI has it, and the password of the proxy."""
    shown = {config.api_key, quote(config.api_key or "", safe="")}
    if config.proxy.startswith("http://"):
        try:
            shown.add(urlsplit(config.proxy).password)
        except ValueError:  # no URL that could be read, so that no call will use it either
            shown.add(config.proxy)
    return {secret for secret in shown if secret}


def _config_of(connection: Connection, extra: Mapping[str, Any]) -> ConnectionConfig:
    from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, is_loopback
    from airflow_provider_btrdb.client.errors import InputError

    if connection.conn_type != CONN_TYPE:
        raise InputError(f"its type is {connection.conn_type!r}, not {CONN_TYPE!r}")
    _check_names(extra)
    if not connection.host:
        raise InputError("the host is empty; it is the name or address of the BTrDB server")
    host = connection.host.strip("[]")
    mode = _text(extra, "tls") or "auto"
    if mode not in ("auto", "on", "off"):
        raise InputError(f"tls is {mode!r}; it is auto (TLS unless the host is this machine), on or off")
    with_tls = mode == "on" or (mode == "auto" and not is_loopback(host))
    port = connection.port or (TLS_PORT if with_tls else PLAIN_PORT)
    options: dict[str, Any] = {name: _number(extra, name) for name in _NUMBERS if extra.get(name) not in (None, "")}
    if "max_message_mb" in options:
        options["max_message_bytes"] = int(options.pop("max_message_mb") * 2**20)
    if options.get("max_in_flight", 0.5).is_integer():
        options["max_in_flight"] = int(options["max_in_flight"])
    return ConnectionConfig(
        endpoint=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        api_key=connection.password or None,
        tls=TlsConfig(**{name: _text(extra, name) for name in ("ca_bundle", "client_cert", "client_key")})
        if with_tls
        else None,
        authority=_text(extra, "authority"),
        proxy=_text(extra, "proxy") or "environment",
        insecure_api_key=_switch(extra, "insecure_key"),
        **options,
    )


def _check_names(extra: Mapping[str, Any]) -> None:
    """Unknown extras are worth a warning; one that looks like a misspelt security setting is refused."""
    from airflow_provider_btrdb.client.errors import InputError

    for name in extra:
        if name in FIELDS:
            continue
        meant = name.lower().replace("-", "_").removeprefix(f"extra__{CONN_TYPE}__")
        near = difflib.get_close_matches(meant, FIELDS, n=1)
        if near and near[0] in _SECURITY_FIELDS:
            raise InputError(f"the extra {name!r} is unknown; did you mean {near[0]!r}?")
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(FIELDS)}"
        warnings.warn(f"the extra {name!r} of a btrdb connection is unknown and ignored{hint}", stacklevel=2)


def _text(extra: Mapping[str, Any], name: str) -> str | None:
    from airflow_provider_btrdb.client.errors import InputError

    value = extra.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r} and must be text")
    return value


def _number(extra: Mapping[str, Any], name: str) -> float:
    from airflow_provider_btrdb.client.errors import InputError

    try:
        number = float(extra[name])  # the connection URI form carries numbers as text
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is {extra[name]!r} and must be a number")
    return number


def _switch(extra: Mapping[str, Any], name: str) -> bool:
    from airflow_provider_btrdb.client.errors import InputError

    value = extra.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0", ""):
        raise InputError(f"{name} is {value!r} and must be true or false")
    return text in ("true", "1")
