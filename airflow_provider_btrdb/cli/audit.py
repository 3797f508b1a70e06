"""`btrdb-audit`: make the checks of a suite, and propose one."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_provider_btrdb.cli.connecting import WHICH_SERVER, add_connection_arguments, shard_argument
from airflow_provider_btrdb.cli.running import (
    FAULT,
    Parser,
    add_cap_argument,
    carry_out,
    check_writable,
    connected,
    print_text,
    progress_bar,
)

if TYPE_CHECKING:
    from airflow_provider_btrdb.audit import RunResult

PROGRAM = "btrdb-audit"
GOOD, FAILED = 0, 2
EPILOG = f"""The exit status is 0 when all checks pass or warn at most, 2 when a check fails, and 1 when something is
wrong: a fault in the suite, a server that cannot be used, a check that could not run, or a drop in coverage, also when
checks fail besides. {WHICH_SERVER}"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    given = _parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {"run": _run, "init": _init}
    return carry_out(PROGRAM, commands[given.command], given, "nothing was stored")


def _run(given: argparse.Namespace) -> int:
    from airflow_provider_btrdb.audit import load_last, read_suite, run_suite, run_text, store
    from airflow_provider_btrdb.audit.failures import format_named

    format_named(given.failures)
    suite = read_suite(given.suite)
    check_writable(given.html)
    last = load_last(given.store, suite.name, given.shard) if given.store is not None else None
    with connected(given) as db, progress_bar("points of streams", not given.json and sys.stderr.isatty()) as progress:
        work = run_suite(
            suite,
            last=last,
            accept_drop=given.accept_drop,
            use_sql=not given.no_sql,
            shard=given.shard,
            progress=progress,
        )
        audit = db.run(work)
    with contextlib.closing(audit):
        result = audit.result
        if given.json:
            print_text(result.model_dump_json(indent=1).encode() + b"\n")
        else:
            print(run_text(result, most=given.most))
        if given.html is not None:
            given.html.write_text(_page(result), encoding="utf-8")
        if given.store is not None:
            from airflow_provider_btrdb.report import store_pages

            place = store(audit, given.store, failures=given.failures)
            store_pages(given.store, result)
            if not given.json:
                print(f"stored in {place}")
    return status_of(result)


def _page(result: RunResult) -> str:
    from airflow_provider_btrdb.report import audit_page, page_html

    return page_html(audit_page(result))


def status_of(result: RunResult) -> int:
    """The exit status of a run."""
    return {"error": FAULT, "fail": FAILED}.get(result.outcome, GOOD)


def _init(given: argparse.Namespace) -> int:
    from airflow_provider_btrdb.audit import propose_suite

    with connected(given) as db:
        text = db.run(propose_suite(given.prefix))
    if given.out is None:
        sys.stdout.write(text)
    else:
        with given.out.open("w" if given.force else "x", encoding="utf-8") as file:
            file.write(text)
        print(f"a suite is in {given.out}")
    return GOOD


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=PROGRAM, description="Checks of what is in a BTrDB server.", epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|init")
    run = commands.add_parser("run", help="Make the checks of a suite; changes nothing.", epilog=EPILOG)
    run.add_argument("suite", metavar="SUITE", help="a file that ends in .yaml or .json")
    run.add_argument("--store", type=Path, metavar="FOLDER", help="keep the run there, and compare with the last one")
    run.add_argument("--failures", default="jsonl", metavar="FORMAT", help="--store keeps jsonl (default) or parquet")
    run.add_argument("--html", type=Path, metavar="FILE", help="write the result as a page")
    run.add_argument("--json", action="store_true", help="print the result as JSON")
    run.add_argument("--most", type=int, default=5, metavar="N", help="print so many failures of a check (default 5)")
    run.add_argument("--accept-drop", action="store_true", help="what is seen now is enough from now on")
    run.add_argument("--no-sql", action="store_true", help="ask no SQL, even where the server answers it")
    run.add_argument("--shard", type=shard_argument, metavar="K/N", help="points of part K of N, counted from 0")
    init = commands.add_parser("init", help="Propose a suite from what the catalogue looks like.", epilog=EPILOG)
    init.add_argument("prefix", nargs="?", default="", metavar="PREFIX", help="a collection prefix; default is all")
    init.add_argument("--out", type=Path, metavar="FILE", help="a file that ends in .yaml, and is not there yet")
    init.add_argument("--force", action="store_true", help="write over a file that is there")
    for command in (run, init):
        add_connection_arguments(command)
        add_cap_argument(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
