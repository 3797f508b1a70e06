"""`btrdb-doctor`: look at the way to a BTrDB server step by step, from the machine where tasks run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import ConnectionConfig
    from airflow_provider_btrdb.client.doctor import Diagnosis

PROGRAM = "btrdb-doctor"
EPILOG = """Without --endpoint the server is the one that connect() would take: BTRDB_ENDPOINTS and BTRDB_API_KEY, or
the profile BTRDB_PROFILE of ~/.predictivegrid/credentials.yaml. The exit status is 0 if the server can be used, 1 if
not, 2 for arguments that make no sense."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    given = _parser().parse_args(arguments)
    from airflow_provider_btrdb.client.config import endpoints_of
    from airflow_provider_btrdb.client.doctor import diagnose
    from airflow_provider_btrdb.client.errors import BTrDBError

    try:
        config = _config(given)
    except BTrDBError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 2
    found = [diagnose(replace(config, endpoint=one), given.seconds) for one in endpoints_of(config.endpoint)]
    if given.json:
        print(json.dumps([asdict(one) | {"ok": one.ok} for one in found], indent=2))
    else:
        print("\n\n".join(map(table, found)))
    return 0 if all(one.ok for one in found) else 1


def table(found: Diagnosis) -> str:
    """The steps in lines that a person reads."""
    lines = [f"BTrDB at {found.endpoint}"]
    lines += [f"  {'ok  ' if step.ok else 'FAIL'}  {step.name:<8}{step.text}" for step in found.steps]
    lines.append("The server can be used." if found.ok else f"The server cannot be used: {found.sentence}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="What works on the way to a BTrDB server, and what is wrong.", epilog=EPILOG
    )
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
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="for all steps of one endpoint (default 10)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _config(given: argparse.Namespace) -> ConnectionConfig:
    """What the arguments say, and the environment where they say nothing. Raises InputError."""
    from airflow_provider_btrdb.client import ConnectionConfig, TlsConfig
    from airflow_provider_btrdb.client.config import endpoints_of, is_loopback, split_endpoint
    from airflow_provider_btrdb.client.environment import config_from_environment

    options: dict[str, Any] = {
        "authority": given.authority,
        "proxy": given.proxy,
        "insecure_api_key": given.insecure_api_key,
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


def _key_in(variable: str) -> str:
    from airflow_provider_btrdb.client.errors import InputError

    key = os.environ.get(variable)
    if not key:
        raise InputError(f"the variable {variable} is not set, and should hold the API key")
    return key


if __name__ == "__main__":
    sys.exit(main())
