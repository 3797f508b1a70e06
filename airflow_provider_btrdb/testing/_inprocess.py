"""The server in this process, on a thread and an event loop of its own; PostgreSQL is a child process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from airflow_provider_btrdb.devserver.auth import Keys
    from airflow_provider_btrdb.devserver.dispatch import CallLog
    from airflow_provider_btrdb.devserver.faults import FaultPlan
    from airflow_provider_btrdb.devserver.limits import Limits
    from airflow_provider_btrdb.devserver.server import DevServer, Options

T = TypeVar("T")


class RunningServer:
    """A server that serves. Use `devserver()` to get one."""

    def __init__(self, server: DevServer, api_key: str | None, faults: FaultPlan, calls: CallLog) -> None:
        self._server = server
        self.api_key = api_key
        """The key given to `devserver()`, if any."""
        self.faults = faults
        """What goes wrong on purpose; may be changed at any time."""
        self.calls = calls
        """Every call that arrived."""

    @property
    def endpoint(self) -> str:
        """`host:port`."""
        return self._server.endpoint

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._server.port

    @property
    def postgres_pid(self) -> int | None:
        """Process id of the PostgreSQL below."""
        return self._server.postgres_pid

    @property
    def dsn(self) -> str:
        """Where the server keeps its tables; it holds a password."""
        return self._server.dsn

    def change_keys(self, *, api_key: str | None = None, keys: Mapping[str, Any] | Path | str | None = None) -> None:
        """From now on these keys count, given as to `devserver()`; calls that were let in go on."""
        self._server.change_keys(_granted(api_key, keys))
        self.api_key = api_key

    def sql_as_owner(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a statement on the server's own tables, for tests that look behind the wire (`%s` for parameters)."""
        import psycopg

        with psycopg.connect(self._server.dsn) as connection:
            cursor = connection.execute(statement.encode(), params or None)
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def devserver(
    *,
    data: Path | str | None = None,
    dsn: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    keys: Mapping[str, Any] | Path | str | None = None,
    tls: tuple[Path | str, Path | str] | None = None,
    durability: Literal["full", "process"] = "process",
    faults: FaultPlan | None = None,
    sql: bool = True,
    limits: Limits | None = None,
) -> Iterator[RunningServer]:
    """A BTrDB server for the length of a `with` block.

    `data` None is a temporary directory, removed at the end. `keys` is a path to a keys file or a mapping of the same
    shape. `tls` are paths of a PEM certificate chain and its key. `sql=False` makes SQLQuery UNIMPLEMENTED, as where it
    is switched off. Raises DevServerError (one sentence) if the server cannot start.
    """
    try:
        from airflow_provider_btrdb.devserver.dispatch import CallLog
        from airflow_provider_btrdb.devserver.faults import FaultPlan
        from airflow_provider_btrdb.devserver.limits import Limits
        from airflow_provider_btrdb.devserver.server import DevServer, Options
    except ModuleNotFoundError as error:
        hint = f"{error.name} is not installed; pip install 'airflow-provider-btrdb[devserver]'"
        raise ModuleNotFoundError(hint, name=error.name) from None

    options = Options(
        data=None if data is None else Path(data),
        dsn=dsn,
        host=host,
        port=port,
        keys=_granted(api_key, keys),
        tls=None if tls is None else (Path(tls[0]), Path(tls[1])),
        durability=durability,
        limits=limits or Limits(),
        sql=sql,
        faults=faults or FaultPlan(),
        calls=CallLog(),
    )
    assert options.faults is not None
    assert options.calls is not None
    with _BackgroundLoop() as loop:
        server = loop.call(_started(DevServer, options))
        try:
            yield RunningServer(server, api_key, options.faults, options.calls)
        finally:
            loop.call(server.stop())


def _granted(api_key: str | None, keys: Mapping[str, Any] | Path | str | None) -> Keys:
    from airflow_provider_btrdb.devserver import auth

    if api_key is not None and keys is not None:
        raise ValueError("api_key and keys exclude each other")
    if isinstance(keys, Mapping):
        return auth.parse_keys(keys)
    if keys is not None:
        return auth.read_keys(Path(keys))
    return auth.no_keys() if api_key is None else auth.single_key(api_key)


async def _started(make: type[DevServer], options: Options) -> DevServer:
    server = make(options)
    await server.start()
    return server


class _BackgroundLoop:
    """An event loop on a daemon thread."""

    def __enter__(self) -> _BackgroundLoop:
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(_quiet)
        self._thread = threading.Thread(target=self._loop.run_forever, name="btrdb-devserver", daemon=True)
        self._thread.start()
        return self

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run on the loop and wait."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __exit__(self, *_: object) -> None:
        self.call(_settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _settle() -> None:
    """Let what was cancelled come to its end, so that closing the loop warns about nothing."""
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
    await asyncio.get_running_loop().shutdown_default_executor()


def _quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """gRPC's loops of one process share a socket, and who comes second finds it empty: nothing is lost."""
    if not isinstance(context.get("exception"), BlockingIOError):
        loop.default_exception_handler(context)
