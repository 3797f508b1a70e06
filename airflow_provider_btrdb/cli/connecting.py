"""Arguments that commands share: which server one talks to, what they mean, and a part of the catalogue."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import ConnectionConfig

WHICH_SERVER = """Without --endpoint the server is the one that connect() would take: BTRDB_ENDPOINTS and BTRDB_API_KEY,
or the profile BTRDB_PROFILE of ~/.predictivegrid/credentials.yaml."""


def add_connection_arguments(parser: argparse.ArgumentParser) -> None:
    """The same arguments for every command."""
    parser.add_argument("--endpoint", metavar="HOST:PORT", help="the server; several with commas between them")
    parser.add_argument(
        "--api-key-env", metavar="NAME", help="the variable that holds the API key; a command line is no place for it"
    )
    parser.add_argument(
        "--tls", choices=("auto", "on", "off"), default="auto", help="auto: on unless it is this machine"
    )
    parser.add_argument("--ca-bundle", metavar="FILE", help="PEM file of the certificates to trust")
    parser.add_argument("--client-cert", metavar="FILE", help="PEM file, together with --client-key")
    parser.add_argument("--client-key", metavar="FILE", help="PEM file, together with --client-cert")
    parser.add_argument("--authority", metavar="NAME", help="the name in the server's certificate")
    parser.add_argument("--proxy", default="environment", metavar="URL", help="environment (default), off, or a URL")
    parser.add_argument("--insecure-api-key", action="store_true", help="send the key without TLS to another machine")


def config_of(given: argparse.Namespace, **more: Any) -> ConnectionConfig:
    """What the arguments say, and the environment where they say nothing. Raises InputError.

    `more` are further fields of ConnectionConfig.
    """
    from airflow_provider_btrdb.client import ConnectionConfig, TlsConfig
    from airflow_provider_btrdb.client.config import endpoints_of, is_loopback, split_endpoint
    from airflow_provider_btrdb.client.environment import config_from_environment

    options: dict[str, Any] = {
        "authority": given.authority,
        "proxy": given.proxy,
        "insecure_api_key": given.insecure_api_key,
        **more,
    }
    if given.api_key_env is not None:
        options["api_key"] = _key_in(given.api_key_env)
    files = TlsConfig(ca_bundle=given.ca_bundle, client_cert=given.client_cert, client_key=given.client_key)
    endpoint = given.endpoint or config_from_environment({}).endpoint
    local = all(is_loopback(split_endpoint(one)[0]) for one in endpoints_of(endpoint))
    options["tls"] = files if given.tls == "on" or (given.tls == "auto" and not local) else None
    if given.endpoint is None:
        return config_from_environment(options)
    return ConnectionConfig(endpoint=endpoint, **options)


def shard_argument(text: str) -> tuple[int, int]:
    """`K/N` -> (K, N), for argparse."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not K/N with K below N")
    return int(number), int(count)


def _key_in(variable: str) -> str:
    from airflow_provider_btrdb.client.errors import InputError

    key = os.environ.get(variable)
    if not key:
        raise InputError(f"the variable {variable} is not set, and should hold the API key")
    return key
