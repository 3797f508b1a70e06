"""What the commands on a catalogue share: a connection, a bar, and sentences instead of tracebacks."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from airflow_provider_btrdb.cli.connecting import config_of

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import BTrDB
    from airflow_provider_btrdb.client.models import Progress

FAULT = 1


class Parser(argparse.ArgumentParser):
    """Wrong arguments end with 1: 2 says what a command has found."""

    def error(self, message: str) -> NoReturn:
        """See argparse."""
        self.print_usage(sys.stderr)
        self.exit(FAULT, f"{self.prog}: {message}\n")


def carry_out(
    program: str, command: Callable[[argparse.Namespace], int], given: argparse.Namespace, interrupted: str
) -> int:
    """The exit status of a command; what is expected to go wrong is one sentence, and `interrupted` one for Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names are in any script; a terminal may know one only
            stream.reconfigure(errors="backslashreplace")
    from airflow_provider_btrdb.client.errors import BTrDBError

    try:
        return command(given)
    except BTrDBError as error:
        complain(program, error)
    except OSError as error:
        complain(program, f"{error.filename or 'output'}: {error.strerror}")
    except KeyboardInterrupt:
        complain(program, f"interrupted; {interrupted}")
    return FAULT


def complain(program: str, error: object) -> None:
    """Its lines on the error output. They quote files and servers, and a terminal obeys control characters."""
    from airflow_provider_btrdb.catalog.streams import printable

    for line in f"{program}: {error}".split("\n"):
        print(printable(line), file=sys.stderr)


def add_cap_argument(parser: argparse.ArgumentParser) -> None:
    """What `connected` takes beside the arguments of a connection."""
    parser.add_argument("--max-in-flight", type=int, metavar="N", help="calls under way at once")


@contextlib.contextmanager
def connected(given: argparse.Namespace) -> Iterator[BTrDB]:
    """A connection that was tried. Raises BTrDBError."""
    from airflow_provider_btrdb.client import BTrDB

    options = {"max_in_flight": given.max_in_flight} if given.max_in_flight is not None else {}
    with BTrDB(config_of(given, **options)) as db:
        db.check()
        yield db


@contextlib.contextmanager
def progress_bar(doing: str, shown: bool) -> Iterator[Progress | None]:
    """A bar on the terminal's error output; without a terminal nothing."""
    if not shown:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(doing), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def check_writable(*paths: Path | None) -> None:
    """Before anything is asked or changed; what is there stays until there is something to replace it with."""
    for path in paths:
        if path is not None:
            there = path.exists()
            with path.open("ab"):
                pass
            if not there:
                path.unlink()


def print_text(data: bytes) -> None:
    """For other programs: UTF-8, whatever a terminal takes."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
