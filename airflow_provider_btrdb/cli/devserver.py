"""`btrdb-devserver`: a BTrDB v5 server for one machine."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_btrdb.devserver.auth import Keys
    from airflow_provider_btrdb.devserver.server import Options

PROGRAM = "btrdb-devserver"
KEY_VARIABLE = "BTRDB_DEVSERVER_API_KEY"
DEFAULT_PORT = 4410


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status: 0 ended as told, 1 an expected fault, 2 wrong arguments."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = (
        _transfer_parser(words[0]).parse_args(words[1:]) if words[:1] in _TRANSFERS else _parser().parse_args(words)
    )
    try:
        from airflow_provider_btrdb.devserver import server, transfer
        from airflow_provider_btrdb.devserver.errors import DevServerError
    except ModuleNotFoundError as error:
        print(
            f"{PROGRAM}: {error.name} is not installed; pip install 'airflow-provider-btrdb[devserver]'",
            file=sys.stderr,
        )
        return 1
    try:
        if words[:1] in _TRANSFERS:
            (transfer.dump if words[0] == "dump" else transfer.load)(options.data, options.file)
            return 0
        _log_to_stderr(options.log_level)
        return asyncio.run(_serve(server.DevServer(_options(options))))
    except DevServerError as error:
        print(f"{PROGRAM}: {error}", file=sys.stderr)
        return 1


_TRANSFERS = (["dump"], ["load"])


def _transfer_parser(command: str) -> argparse.ArgumentParser:
    purpose = {
        "dump": "Write everything that a data directory holds to a file. The server must not run.",
        "load": "Fill a new data directory from such a file.",
    }
    parser = argparse.ArgumentParser(prog=f"{PROGRAM} {command}", description=purpose[command])
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="data directory")
    parser.add_argument("--file", type=Path, metavar="FILE", required=True, help="the dump")
    return parser


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="A BTrDB v5 server for one machine.",
        epilog=f"{PROGRAM} dump and {PROGRAM} load write and read all of a data directory; see their --help.",
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory; made if it is not there")
    parser.add_argument(
        "--listen", default=f"127.0.0.1:{DEFAULT_PORT}", metavar="HOST:PORT", help="port 0 is a free one"
    )
    keys = parser.add_mutually_exclusive_group()
    keys.add_argument("--api-key", metavar="KEY", help=f"the one key, on loopback only; better: {KEY_VARIABLE}")
    keys.add_argument("--keys", type=Path, metavar="FILE", help="TOML file of keys and what they allow")
    parser.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM certificate chain")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM private key")
    parser.add_argument("--dsn", metavar="DSN", help="an empty PostgreSQL database to use instead of our own")
    parser.add_argument(
        "--durability",
        choices=("full", "process"),
        default="full",
        help="full survives a power cut, process only the end of processes (and is faster)",
    )
    parser.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="warning", help="JSON lines on stderr"
    )
    return parser


def _options(given: argparse.Namespace) -> Options:
    from airflow_provider_btrdb.devserver.errors import DevServerError
    from airflow_provider_btrdb.devserver.server import Options, is_loopback

    host, port = _address(given.listen)
    if (given.tls_cert is None) != (given.tls_key is None):
        raise DevServerError("--tls-cert and --tls-key go together")
    if given.data is None and given.dsn is None:
        raise DevServerError("where to keep the data? give --data DIR or --dsn DSN")
    if given.data is not None and given.dsn is not None:
        raise DevServerError("--data and --dsn exclude each other")
    tls = None if given.tls_cert is None else (given.tls_cert, given.tls_key)
    keys = _keys(given)
    if not is_loopback(host):
        if given.api_key is not None:
            raise DevServerError(f"every user of the machine can read a command line: use --keys or {KEY_VARIABLE}")
        if tls is None or not keys.grants:
            raise DevServerError(f"{host} can be reached from other machines: that needs keys and TLS")
    return Options(
        data=given.data, dsn=given.dsn, host=host, port=port, keys=keys, tls=tls, durability=given.durability
    )


def _address(text: str) -> tuple[str, int]:
    from airflow_provider_btrdb.devserver.errors import DevServerError

    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise DevServerError(f"--listen {text} is not HOST:PORT")
    return host, int(port)


def _keys(given: argparse.Namespace) -> Keys:
    from airflow_provider_btrdb.devserver import auth
    from airflow_provider_btrdb.devserver.errors import DevServerError

    variable = os.environ.get(KEY_VARIABLE)
    if variable is not None and (given.api_key is not None or given.keys is not None):
        raise DevServerError(f"{KEY_VARIABLE} is set: leave out --api-key and --keys")
    if given.keys is not None:
        return auth.read_keys(given.keys)
    key = given.api_key if given.api_key is not None else variable
    return auth.no_keys() if key is None else auth.single_key(key)


async def _serve(server: object) -> int:
    from airflow_provider_btrdb.devserver.server import DevServer

    assert isinstance(server, DevServer)
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await server.start()
    print(f"{PROGRAM} ready on {server.endpoint}", flush=True)
    watching = asyncio.create_task(server.watch())
    telling = asyncio.create_task(told.wait())
    await asyncio.wait({watching, telling}, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    await server.stop()
    if watching.done():
        watching.result()
    watching.cancel()
    return 0


class _JsonLines(logging.Formatter):
    """One JSON object per line; calls carry their facts, never their contents."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {"time": self.formatTime(record), "level": record.levelname.lower(), "logger": record.name}
        line |= getattr(record, "facts", None) or {"message": record.getMessage()}
        if record.exc_info and record.exc_info[0] is not None:
            # An exception's own words may repeat what a caller sent.
            frames = traceback.format_tb(record.exc_info[2])
            line["exception"] = "".join(frames) + record.exc_info[0].__name__
        return json.dumps(line)


def _log_to_stderr(level: str) -> None:
    """Everything that is logged in this process, other packages' warnings included, as JSON lines."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines())
    logging.getLogger().addHandler(handler)
    logging.getLogger("airflow_provider_btrdb").setLevel(level.upper())


if __name__ == "__main__":
    sys.exit(main())
