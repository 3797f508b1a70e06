"""The server as a whole: PostgreSQL below, gRPC above, started in order and ended in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import shutil
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from airflow_provider_btrdb.devserver import binaries, schema
from airflow_provider_btrdb.devserver.auth import Keys, no_keys
from airflow_provider_btrdb.devserver.database import Database
from airflow_provider_btrdb.devserver.datadir import DataDir
from airflow_provider_btrdb.devserver.dispatch import CallLog, Dispatcher
from airflow_provider_btrdb.devserver.errors import DevServerError
from airflow_provider_btrdb.devserver.faults import FaultPlan
from airflow_provider_btrdb.devserver.limits import Limits
from airflow_provider_btrdb.devserver.postgres import Postgres
from airflow_provider_btrdb.devserver.reflection import add_reflection
from airflow_provider_btrdb.devserver.service import Service
from airflow_provider_btrdb.devserver.sql import SqlRunner
from airflow_provider_btrdb.protocol import SERVICE

log = logging.getLogger("airflow_provider_btrdb.devserver")

PROCESS_CHECK_SECONDS = 0.2
LOCK_CHECK_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a server is made of."""

    data: Path | None = None
    """The data directory; None is a temporary one, removed at the end."""
    dsn: str | None = field(default=None, repr=False)
    """A PostgreSQL to use instead of one of our own."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 picks a free one."""
    keys: Keys = field(default_factory=no_keys)
    tls: tuple[Path, Path] | None = None
    """Certificate chain and private key, PEM."""
    durability: Literal["full", "process"] = "full"
    """`full` survives a power cut; `process` only the end of processes, and is faster."""
    limits: Limits = field(default_factory=Limits)
    sql: bool = True
    faults: FaultPlan | None = None
    calls: CallLog | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a listening address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class DevServer:
    """Belongs to the thread and loop that start it; the thread must live as long as the server."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._stack = contextlib.AsyncExitStack()
        self._postgres: Postgres | None = None
        self._database: Database | None = None
        self._dispatcher: Dispatcher | None = None
        self.port = 0
        self.dsn = ""
        """Where the server keeps its tables; it holds a password."""

    @property
    def endpoint(self) -> str:
        """`host:port` as a client writes it."""
        return f"{self._options.host}:{self.port}"

    @property
    def postgres_pid(self) -> int | None:
        """Process id of our own PostgreSQL."""
        return self._postgres.pid if self._postgres else None

    def change_keys(self, keys: Keys) -> None:
        """From now on these keys count; calls that were let in go on."""
        assert self._dispatcher is not None
        self._dispatcher.keys = keys

    async def start(self) -> None:
        """Serve. Raises DevServerError with one sentence if that cannot be."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        options = self._options
        credentials = _credentials(*options.tls) if options.tls else None
        dsn = self.dsn = options.dsn or self._start_postgres()
        database = self._database = Database(dsn, connections=options.limits.database_connections)
        self._stack.push_async_callback(database.close)
        await database.open()
        sql = None
        if options.sql:
            role_dsn = schema.make_sql_role(dsn, statement_seconds=options.limits.sql_statement_seconds)
            sql = SqlRunner(role_dsn, options.limits)
            self._stack.push_async_callback(sql.close)
        await self._serve(database, sql, credentials)

    def _start_postgres(self) -> str:
        programs = binaries.find_programs()
        data = self._options.data
        if data is None:
            data = Path(tempfile.mkdtemp(prefix="btrdb-devserver-"))
            self._stack.callback(shutil.rmtree, data, ignore_errors=True)
        directory = DataDir(data)
        self._stack.callback(directory.release)
        self._postgres = Postgres(directory, programs, durable=self._options.durability == "full")
        self._stack.callback(self._postgres.stop)
        self._postgres.start()
        return self._postgres.dsn

    async def _serve(self, database: Database, sql: SqlRunner | None, credentials: Any) -> None:
        options = self._options
        size = options.limits.max_message_bytes
        server = grpc.aio.server(
            maximum_concurrent_rpcs=options.limits.concurrent_calls,
            options=[
                ("grpc.max_receive_message_length", size),
                ("grpc.max_send_message_length", size),
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                # From 1,000 waiting calls on, gRPC would drop some of them at random, as CANCELLED.
                ("grpc.server.max_pending_requests", 1_000_000),
                ("grpc.server.max_pending_requests_hard_limit", 1_000_000),
            ],
        )
        address = f"{options.host}:{options.port}"
        try:
            self.port = (
                server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
            )
        except RuntimeError:
            self.port = 0
        if not self.port:
            raise DevServerError(f"cannot listen on {address}: the address is in use or not of this machine")
        service = Service(database, sql, options.limits, self.endpoint)
        dispatcher = Dispatcher(service.handlers(), options.keys, options.faults, options.calls)
        self._dispatcher = dispatcher
        server.add_generic_rpc_handlers((dispatcher,))
        checker = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(checker, server)
        add_reflection(server, lambda: dispatcher.keys)
        await checker.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        self._stack.push_async_callback(self._stop_serving, server, service, checker)

    async def _stop_serving(self, server: Any, service: Service, checker: Any) -> None:
        """Refuse what is new, let what is in flight come to its end, then close."""
        assert self._dispatcher is not None
        await checker.enter_graceful_shutdown()
        try:
            await asyncio.wait_for(self._dispatcher.drained(), self._options.limits.drain_seconds)
        except TimeoutError:
            log.warning("calls still in flight after %s s are cut", self._options.limits.drain_seconds)
        await server.stop(0.2)
        await service.finisher.finished()

    async def watch(self) -> None:
        """Run as long as the database below is ours and there; then raise DevServerError."""
        while self._postgres is None or self._postgres.running():
            await asyncio.sleep(PROCESS_CHECK_SECONDS if self._postgres else LOCK_CHECK_SECONDS)
            if self._postgres is None and self._database is not None:
                await self._database.keep_lock()
        raise DevServerError("PostgreSQL ended by itself; see postgres.log in the data directory")

    async def stop(self) -> None:
        """Drain, close, and end PostgreSQL last."""
        if self._database is not None and self._postgres is not None and not self._postgres.running():
            # Calls in flight must not wait for connections that can never come.
            await self._database.close()
        await self._stack.aclose()


def _credentials(certificate: Path, key: Path) -> Any:
    """TLS, checked before gRPC sees it, which only says that it cannot bind."""
    try:
        chain, private = certificate.read_bytes(), key.read_bytes()
    except OSError as error:
        raise DevServerError(f"cannot read {error.filename}: {error.strerror}") from None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, ValueError):
        raise DevServerError(f"{certificate} and {key} are not a PEM certificate and its unencrypted key") from None
    return grpc.ssl_server_credentials([(private, chain)])
