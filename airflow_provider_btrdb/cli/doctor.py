"""`btrdb-doctor`: look at the way to a BTrDB server step by step, from the machine where tasks run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from airflow_provider_btrdb.cli.connecting import WHICH_SERVER, add_connection_arguments, config_of

if TYPE_CHECKING:
    from airflow_provider_btrdb.client.doctor import Diagnosis

PROGRAM = "btrdb-doctor"
EPILOG = f"""{WHICH_SERVER} The exit status is 0 if the server can be
used, 1 if not, 2 for arguments that make no sense."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    given = _parser().parse_args(arguments)
    from airflow_provider_btrdb.client.config import endpoints_of
    from airflow_provider_btrdb.client.doctor import diagnose
    from airflow_provider_btrdb.client.errors import BTrDBError

    try:
        config = config_of(given)
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
    add_connection_arguments(parser)
    parser.add_argument("--seconds", type=_seconds, default=10.0, help="for all steps of one endpoint (default 10)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
