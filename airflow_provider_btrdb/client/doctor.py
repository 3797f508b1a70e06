"""One look at everything that a connection needs, from the name of the server to SQL: what works, and what is wrong.

Behind `btrdb-doctor`, Airflow's button "Test" and BTrDBConnectionCheckOperator.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.client._sync.database import SUPPORTED_MAJOR, BTrDB
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, endpoints_of, split_endpoint
from airflow_provider_btrdb.client.probe import Address, Clock, Problem, Proxy, proxy_for, reach, resolve, tunnel
from airflow_provider_btrdb.client.trust import TlsProblem, examine


@dataclass(frozen=True, slots=True)
class Step:
    """What one step found."""

    name: str
    ok: bool
    text: str


@dataclass(slots=True)
class Diagnosis:
    """What a check found; facts are None where it did not get so far."""

    endpoint: str
    steps: list[Step] = field(default_factory=list)
    """name, port, TLS (if it is on), server, SQL, streams: up to the first that failed."""
    retryable: bool = False
    """After a failure: may it pass by itself?"""
    version: str | None = None
    """Of the server: "5.30"."""
    build: str | None = None
    serves_sql: bool | None = None
    """To this key."""
    streams: int | None = None
    """How many this key may see."""
    all_counted: bool = True
    """False if there are more, and the time was up."""

    @property
    def ok(self) -> bool:
        """Can the server be used?"""
        return bool(self.steps) and all(step.ok for step in self.steps)

    @property
    def sentence(self) -> str:
        """What is wrong, or what answers."""
        failed = next((step for step in self.steps if not step.ok), None)
        if failed is not None:
            return failed.text
        sql = next((step.text for step in self.steps if step.name == "SQL"), "")
        return f"BTrDB {self.version} (build {self.build}) at {self.endpoint} answers; {self._counted()}; {sql}"

    def _counted(self) -> str:
        more = "" if self.all_counted else "more than "
        return f"this key may see {more}{self.streams} stream{'' if self.streams == 1 else 's'}"


def diagnose(config: ConnectionConfig, seconds: float = 10.0) -> Diagnosis:
    """Check the first endpoint of the configuration, in at most so many seconds. What is wrong is never raised.

    Makes a few connections and calls, each of which sends the API key only as every other call does.
    """
    clock = Clock(seconds)
    endpoint = endpoints_of(config.endpoint)[0]
    found = Diagnosis(endpoint)
    config = replace(config, endpoint=endpoint, retry_total=0)
    try:
        _look_at_network(found, config, clock)
        _ask_server(found, config, clock)
    except _Stop:
        pass
    return found


class _Stop(Exception):
    """A step failed, so that there is no next one."""


def _fail(found: Diagnosis, name: str, text: str, *, retryable: bool) -> _Stop:
    found.steps.append(Step(name, False, text))
    found.retryable = retryable
    return _Stop()


def _look_at_network(found: Diagnosis, config: ConnectionConfig, clock: Clock) -> None:
    host, port = address = split_endpoint(config.endpoint)
    step = "name"
    try:
        proxy = proxy_for(config, host)
        addresses = resolve(proxy.address[0] if proxy else host, clock)
        of = f"{proxy}: " if proxy else f"{host}: "
        found.steps.append(Step(step, True, of + ", ".join(addresses)))
        step = "port"
        connect = _connector(address, proxy, clock)
        connect().close()
        found.steps.append(
            Step(step, True, f"{host}:{port} takes connections" + (f" through {proxy}" if proxy else ""))
        )
        if config.tls is not None:
            step = "TLS"
            found.steps.append(Step(step, True, examine(config, host, connect)))
    except Problem as problem:
        raise _fail(found, step, str(problem), retryable=not problem.lasting) from None
    except TlsProblem as problem:
        raise _fail(found, step, f"{config.endpoint}: {problem}", retryable=problem.kind == "silence") from None
    except errors.InputError as error:
        raise _fail(found, step, str(error), retryable=False) from None


def _connector(address: Address, proxy: Proxy | None, clock: Clock) -> Callable[[], socket.socket]:
    return lambda: reach(address, clock) if proxy is None else tunnel(proxy, address, clock)


def _ask_server(found: Diagnosis, config: ConnectionConfig, clock: Clock) -> None:
    try:
        with _connected(config, clock.left() * 0.6) as db:  # the rest is for finding out why there is no answer
            info = db.info()
    except errors.BTrDBError as error:
        raise _fail(found, "server", f"{error}{_hint(error, config, clock)}", retryable=error.retryable) from None
    found.version, found.build = f"{info['majorVersion']}.{info['minorVersion']}", str(info["build"])
    if info["majorVersion"] < SUPPORTED_MAJOR:
        text = f"the server is BTrDB {found.version} ({found.build}); version {SUPPORTED_MAJOR} or newer is needed"
        raise _fail(found, "server", text, retryable=False)
    key = "takes the API key" if config.api_key else "wants no API key"
    found.steps.append(Step("server", True, f"BTrDB {found.version} (build {found.build}) {key}"))
    _try_sql(found, config, clock)
    if found.streams is None:
        _list(found, config, clock)
    found.steps.append(Step("streams", True, found._counted()))


def _connected(config: ConnectionConfig, seconds: float) -> contextlib.closing[BTrDB]:
    """A client whose calls all end within so many seconds. Raises InputError."""
    return contextlib.closing(BTrDB(replace(config, request_timeout=seconds, stream_timeout=seconds)))


def _hint(error: errors.BTrDBError, config: ConnectionConfig, clock: Clock) -> str:
    """A port takes connections and BTrDB does not answer: does the server speak TLS, and we do not?"""
    if not isinstance(error, errors.ServerUnavailableError | errors.DeadlineExceededError):
        return ""
    speaks_tls = False
    if config.tls is None:
        address = split_endpoint(config.endpoint)
        try:
            connect = _connector(address, proxy_for(config, address[0]), clock)
            examine(replace(config, tls=TlsConfig()), address[0], connect)
            speaks_tls = True
        except TlsProblem as problem:
            speaks_tls = problem.kind == "certificate"
        except (Problem, errors.InputError):
            pass
    return "; it speaks TLS: turn TLS on" if speaks_tls else "; something else than BTrDB may listen there"


def _try_sql(found: Diagnosis, config: ConnectionConfig, clock: Clock) -> None:
    """Is SQL served? That counts the streams too."""
    try:
        with _connected(config, clock.left()) as db:
            found.streams = int(db.query("SELECT count(*) AS streams FROM streams")[0]["streams"])
    except (errors.NotSupportedError, errors.PermissionDeniedError) as error:
        off = isinstance(error, errors.NotSupportedError)
        text = "SQL is switched off at the server" if off else "SQL is not open to this key"
        found.steps.append(Step("SQL", True, text))
    except errors.BTrDBError as error:
        raise _fail(found, "SQL", f"SQL fails: {error}", retryable=error.retryable) from None
    else:
        found.steps.append(Step("SQL", True, "SQL is served"))
    found.serves_sql = found.streams is not None


def _list(found: Diagnosis, config: ConnectionConfig, clock: Clock) -> None:
    """Count the streams by listing them, until the time is up."""
    found.streams = 0
    try:
        with _connected(config, clock.left()) as db:
            for _ in db.lookup_iter():
                found.streams += 1
    except (errors.StreamInterruptedError, errors.DeadlineExceededError):
        found.all_counted = False
    except errors.BTrDBError as error:
        raise _fail(found, "streams", f"listing streams fails: {error}", retryable=error.retryable) from None
