"""`btrdb-provision`: say which streams should be there, see the difference, apply it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_btrdb.cli.connecting import WHICH_SERVER, add_connection_arguments, shard_argument
from airflow_provider_btrdb.cli.running import (
    FAULT,
    Parser,
    add_cap_argument,
    carry_out,
    check_writable,
    complain,
    connected,
    print_text,
    progress_bar,
)

if TYPE_CHECKING:
    from airflow_provider_btrdb.provision import Plan, Spec

PROGRAM = "btrdb-provision"
EMPTY, CHANGES, DESTRUCTIVE = 0, 2, 3
EPILOG = f"""The exit status of plan is 0 when nothing differs, 2 when something would be changed, 3 when streams would
be destroyed; of apply and import 0 when all is well; and 1 always when something is wrong. {WHICH_SERVER}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    given = _parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {"plan": _plan, "apply": _apply, "import": _import}
    return carry_out(PROGRAM, commands[given.command], given, "the same command goes on where it stopped")


def _plan(given: argparse.Namespace) -> int:
    from airflow_provider_btrdb.provision import make_plan, plan_bytes, plan_text, sha256_of
    from airflow_provider_btrdb.report import page_html, plan_page

    spec = _spec(given)
    check_writable(given.out, given.html)
    with connected(given) as db, progress_bar("asking", not given.json and sys.stderr.isatty()) as progress:
        plan = db.run(make_plan(spec, prune=given.prune, shard=given.shard, progress=progress))
    data = plan_bytes(plan)
    if given.html is not None:
        facts = [("Specification", spec.source), ("Server", db.config.endpoint), ("SHA-256", sha256_of(data))]
        given.html.write_text(page_html(plan_page(plan, facts=facts)), encoding="utf-8")
    if given.out is not None:
        given.out.write_bytes(data)
    if given.json:
        print_text(data)
    else:
        print(plan_text(plan, most=given.most))
        if given.out is not None:
            print(f"{given.out} has SHA-256 {sha256_of(data)}")
    return _status(plan)


def _status(plan: Plan) -> int:
    if plan.problems:
        return FAULT
    return {"empty": EMPTY, "changes": CHANGES, "destructive": DESTRUCTIVE}[plan.verdict]


def _apply(given: argparse.Namespace) -> int:
    from airflow_provider_btrdb.provision import applied_text, apply_plan, load_plan

    plan = load_plan(given.plan.read_bytes(), given.sha256)
    check_writable(given.results)
    with connected(given) as db, progress_bar("applying", not given.json and sys.stderr.isatty()) as progress:
        work = apply_plan(
            plan, prune=given.prune, max_destroy=given.max_destroy, verify=not given.no_verify, progress=progress
        )
        applied = db.run(work)
    if given.json:
        print(json.dumps({"counts": applied.counts, "verified": applied.verified}))
    else:
        print(applied_text(applied))
    if given.results is not None:
        with given.results.open("w", encoding="utf-8") as file:
            for result in applied.results:
                file.write(json.dumps(result.as_row(), ensure_ascii=False) + "\n")
    error = applied.error()
    if error is not None:
        complain(PROGRAM, error)
    return EMPTY if error is None else FAULT


def _import(given: argparse.Namespace) -> int:
    from airflow_provider_btrdb.client.errors import InputError
    from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE
    from airflow_provider_btrdb.provision import format_of, import_spec, print_spec

    kind = "yaml" if given.out is None else format_of(str(given.out))
    if kind == "csv":
        raise InputError(f"{given.out} must end in .yaml or .json: a table has no place for all of a specification")
    check_writable(given.out)
    with connected(given) as db:
        spec = db.run(import_spec(given.prefixes, namespace=given.namespace or DEFAULT_NAMESPACE))
    if spec.unnamed:
        complain(PROGRAM, f"{spec.unnamed} streams have no name and are left out")
    if not spec.streams:
        raise InputError(f"there is no stream that this key may see below {' or '.join(map(repr, given.prefixes))}")
    text = print_spec(spec, kind)
    if given.out is None:
        print_text(text.encode())
    else:
        given.out.write_text(text, encoding="utf-8")
        print(f"{len(spec.streams)} streams are in {given.out}")
    return EMPTY


# ---------------------------------------------------------------- what commands share


def _spec(given: argparse.Namespace) -> Spec:
    from airflow_provider_btrdb.provision import read_defaults, read_spec

    defaults = {} if given.defaults is None else read_defaults(given.defaults)
    return read_spec(
        given.spec, params=dict(given.param), prefixes=given.prefix, namespace=given.namespace, defaults=defaults
    )


# ---------------------------------------------------------------- arguments


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Streams of a BTrDB server as a file says them.", epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="plan|apply|import")
    plan = _command(commands, "plan", "Show what differs between a specification and the server; changes nothing.")
    plan.add_argument("spec", metavar="SPEC", help="a file that ends in .yaml, .json or .csv")
    plan.add_argument("--out", type=Path, metavar="FILE", help="write the plan as JSON, for apply")
    plan.add_argument("--html", type=Path, metavar="FILE", help="write the plan as a page")
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.add_argument("--most", type=_count, metavar="N", help="print only so many changes")
    plan.add_argument("--prune", action="store_true", help="plan to destroy unmanaged streams below the prefixes")
    plan.add_argument("--shard", type=shard_argument, metavar="K/N", help="part K of N, counted from 0")
    plan.add_argument(
        "--param", type=_param, action="append", default=[], metavar="NAME=TEXT", help="a name for templates"
    )
    plan.add_argument("--prefix", action="append", default=[], metavar="TEXT", help="a collection prefix to manage")
    plan.add_argument("--defaults", metavar="FILE", help="a .yaml or .json file with what a table has no place for")
    plan.add_argument("--namespace", type=_uuid, metavar="UUID", help="of derived uuids, where the file says none")
    apply = _command(commands, "apply", "Make the changes of a plan.")
    apply.add_argument("plan", type=Path, metavar="PLAN", help="what plan --out has written")
    apply.add_argument("--sha256", metavar="HASH", help="refuse any other plan than the one with this hash")
    apply.add_argument("--prune", action="store_true", help="let the plan destroy streams")
    apply.add_argument("--max-destroy", type=_count, default=10, metavar="N", help="how many at most (default 10)")
    apply.add_argument("--no-verify", action="store_true", help="do not read the streams again afterwards")
    apply.add_argument("--results", type=Path, metavar="FILE", help="write one JSON line for each change")
    apply.add_argument("--json", action="store_true", help="print the counts as JSON")
    imported = _command(commands, "import", "Write a specification of what exists.")
    imported.add_argument("prefixes", nargs="+", metavar="PREFIX", help="collection prefixes; '' is everything")
    imported.add_argument("--out", type=Path, metavar="FILE", help="a file that ends in .yaml or .json")
    imported.add_argument("--namespace", type=_uuid, metavar="UUID", help="of derived uuids")
    return parser


def _command(commands: Any, name: str, purpose: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose, epilog=EPILOG)
    add_connection_arguments(parser)
    add_cap_argument(parser)
    return parser


def _param(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TEXT")
    return name, value


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number, 0 or more")
    return int(text)


def _uuid(text: str) -> Any:
    from uuid import UUID

    return UUID(text)


if __name__ == "__main__":
    sys.exit(main())
