"""Between gRPC and the handlers: keys, faults, errors, and counting what is in flight.

Handlers take a parsed request and return a message (or bytes that are one), or iterate over messages. Whatever goes
wrong leaves as a BTrDB stat or as a gRPC status that somebody chose; never as Python's own words.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import grpc
import grpc.aio
import psycopg
from google.protobuf.message import DecodeError

from airflow_provider_btrdb.devserver.auth import Grant, Keys
from airflow_provider_btrdb.devserver.errors import Refusal, StatusError
from airflow_provider_btrdb.devserver.faults import (
    Answer,
    Corrupt,
    CutAfter,
    Delay,
    Fault,
    FaultPlan,
    LoseReply,
    Refuse,
    corrupted,
)
from airflow_provider_btrdb.protocol import METHODS, UNKNOWN_STREAM_TEXT, Code, Kind, Method
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

log = logging.getLogger("airflow_provider_btrdb.devserver")

T = TypeVar("T")
Reply = Any
"""A message, or the bytes of one."""

STALLED_READER_SECONDS = 300.0
"""A client that takes no message for so long has gone away without saying so."""

NUMBERED_TEXTS = frozenset(
    {"SetStreamAnnotations", "SetStreamTags", "Insert", "ArrowInsert", "Delete", "Flush", "Obliterate"}
    | {"LookupStreams", "Changes", "Windows"}
)
"""Methods whose messages come as `(code: text)`; the others send the text alone."""


@dataclass(frozen=True, slots=True)
class Call:
    """What a handler may know about its call."""

    grant: Grant
    draining: asyncio.Event
    """Set when the server is told to end: calls that would last for ever must end then."""
    accept: Callable[[], Awaitable[None]]
    """Send the initial metadata: lets the client of a long call know that it has begun."""

    def may(self, permission: str) -> Callable[[str], None]:
        """A check that raises for collections where the caller lacks a permission."""
        return partial(self.grant.require, permission)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call as the server saw it arrive."""

    method: str
    seconds_left: float | None
    """Until the client's deadline; None if it set none."""
    metadata: Mapping[str, str]
    """Without the authorization."""


class CallLog:
    """Every call that arrived, for tests; may be read from any thread."""

    def __init__(self) -> None:
        self._records: list[CallRecord] = []
        self._guard = threading.Lock()

    def add(self, record: CallRecord) -> None:
        """Remember a call."""
        with self._guard:
            self._records.append(record)

    def clear(self) -> None:
        """Forget everything."""
        with self._guard:
            self._records.clear()

    def records(self, method: str | None = None) -> list[CallRecord]:
        """The calls of one method or of all, in order of arrival."""
        with self._guard:
            return [record for record in self._records if method in (None, record.method)]

    def count(self, method: str) -> int:
        """How often a method was called."""
        return len(self.records(method))

    def counts(self) -> Counter[str]:
        """Calls per method."""
        return Counter(record.method for record in self.records())

    def without_deadline(self) -> list[str]:
        """Methods of calls that would have waited for ever."""
        return [record.method for record in self.records() if record.seconds_left is None]


@dataclass(frozen=True, slots=True)
class Handlers:
    """One coroutine function per method, by the method's name; those that are missing answer UNIMPLEMENTED."""

    unary: Mapping[str, Callable[[Call, Any], Awaitable[Reply]]]
    streams: Mapping[str, Callable[[Call, Any], AsyncIterator[Reply]]]
    """Server streams; a bidirectional one takes an iterator of requests."""
    raw: frozenset[str]
    """Methods that parse their request themselves."""


class _Opening:
    """The initial metadata of a call, which are sent once, and by themselves.

    gRPC would send them with the first message. If the client does not take that one, no status can follow: gRPC does
    not know yet that they are sent, and tries again. So does a message that is written while they are on their way.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._lock = asyncio.Lock()
        self._sent = False

    async def send(self) -> None:
        """Return once they are sent, whoever does it."""
        async with self._lock:
            if not self._sent:
                await _to_caller(self._context.send_initial_metadata(()))
                self._sent = True


class Dispatcher(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc comes without types
    """The service as gRPC sees it."""

    def __init__(self, handlers: Handlers, keys: Keys, faults: FaultPlan | None, calls: CallLog | None) -> None:
        self._handlers = handlers
        self.keys = keys
        """Who may call; may be replaced while calls are served."""
        self._faults = faults
        self._calls = calls
        self._by_path = {method.path: self._handler(method) for method in METHODS.values()}
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self.draining = asyncio.Event()
        """Set once the server is told to end: new calls are refused, subscriptions end."""

    async def drained(self) -> None:
        """Refuse new calls and wait until none is in flight."""
        self.draining.set()
        await self._idle.wait()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        """The handler of a path, or None for a path that is not ours."""
        return self._by_path.get(details.method)

    def _handler(self, method: Method) -> grpc.RpcMethodHandler:
        if method.kind is Kind.UNARY:
            return grpc.unary_unary_rpc_method_handler(partial(self._serve, method))
        if method.kind is Kind.SERVER_STREAM:
            return grpc.unary_stream_rpc_method_handler(partial(self._serve_stream, method))
        return grpc.stream_stream_rpc_method_handler(partial(self._serve_stream, method))

    async def _serve(self, method: Method, raw: bytes, context: Any) -> bytes | None:
        async def answer(faults: list[Fault]) -> bytes:
            call, request = self._admit(method, raw, context, _Opening(context))
            reply = await self._handlers.unary[method.name](call, request)
            return _spoilt(method, reply, 1, faults)

        return await self._guarded(method, context, answer)

    async def _serve_stream(self, method: Method, raw: Any, context: Any) -> None:
        opening = _Opening(context)

        async def send(data: bytes) -> None:
            await opening.send()
            # wait_for of Python 3.11 loses a cancellation that comes as the write ends, and the call stayed.
            async with asyncio.timeout(STALLED_READER_SECONDS):
                await _to_caller(context.write(data))

        async def answer(faults: list[Fault]) -> None:
            call, request = self._admit(method, raw, context, opening)
            number = 0
            async with aclosing(self._handlers.streams[method.name](call, request)) as replies:  # type: ignore[type-var]
                async for reply in replies:
                    _cut(faults, number)
                    number += 1
                    await send(_spoilt(method, reply, number, faults))
                    if _has_stat(reply):
                        return
            _cut(faults, number)

        refusal = await self._guarded(method, context, answer)
        if refusal is not None:
            await send(refusal)

    def _admit(self, method: Method, raw: Any, context: Any, opening: _Opening) -> tuple[Call, Any]:
        """Who calls, and with what."""
        grant = self.keys.identify(context.invocation_metadata() or ())
        if method.name not in self._handlers.unary and method.name not in self._handlers.streams:
            raise StatusError(grpc.StatusCode.UNIMPLEMENTED, f"method {method.name} not implemented")
        call = Call(grant, self.draining, opening.send)
        if method.kind is Kind.BIDI_STREAM or method.name in self._handlers.raw:
            return call, raw
        return call, method.request.FromString(raw)

    async def _guarded(self, method: Method, context: Any, answer: Callable[[list[Fault]], Awaitable[T]]) -> T | bytes:
        """Run `answer`; a refusal becomes the bytes of a message, everything else a gRPC status."""
        started = time.monotonic()
        outcome = "CANCELLED"
        self._in_flight += 1
        self._idle.clear()
        try:
            result = await self._attempt(method, context, answer)
        except Exception as error:  # all of them: nothing of Python may leave
            explained = _explained(method, error)
            outcome = type(error).__name__ if isinstance(explained, bytes) else explained.code.name
        else:
            outcome = "OK"
            return result
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()
            _log_call(method, outcome, started)
        if isinstance(explained, bytes):
            return explained
        await _to_caller(context.abort(explained.code, explained.details))
        raise explained

    async def _attempt(self, method: Method, context: Any, answer: Callable[[list[Fault]], Awaitable[T]]) -> T:
        if self.draining.is_set():
            raise StatusError(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")
        self._record(method, context)
        faults = self._faults.of_call(method.name) if self._faults else []
        await _before(faults)
        result = await answer(faults)
        for fault in faults:
            if isinstance(fault.action, LoseReply):
                fault.fired += 1
                raise StatusError(fault.action.code, fault.action.details)
        return result

    def _record(self, method: Method, context: Any) -> None:
        if self._calls is None:
            return
        left = context.time_remaining()
        metadata = {key: str(value) for key, value in context.invocation_metadata() or () if key != "authorization"}
        self._calls.add(CallRecord(method.name, None if left is None or left > 1e9 else left, metadata))


async def _to_caller(sending: Awaitable[None]) -> None:
    """Send. Where the call is over, gRPC was about to cancel this task: there is nobody to tell anything."""
    try:
        await sending
    except grpc.aio.AbortError:
        raise
    except grpc.aio.BaseError:
        raise asyncio.CancelledError from None


def _stat(method: Method, refusal: Refusal) -> bytes:
    text = f"({refusal.code}: {refusal.msg})" if method.name in NUMBERED_TEXTS else refusal.msg
    return bytes(method.response(stat=pb.Status(code=refusal.code, msg=text)).SerializeToString())


_FAILURES = (
    (DecodeError, grpc.StatusCode.INTERNAL, "error unmarshalling request"),
    (TimeoutError, grpc.StatusCode.DEADLINE_EXCEEDED, "the client does not read"),
    (psycopg.OperationalError, grpc.StatusCode.UNAVAILABLE, "the database is not available"),
)


def _explained(method: Method, error: Exception) -> bytes | StatusError:
    """What a failure looks like from outside: a message with a stat, or a gRPC status."""
    if isinstance(error, Refusal):
        if method.name == "StreamInfo" and error.code == Code.NO_SUCH_STREAM:
            return StatusError(grpc.StatusCode.UNKNOWN, UNKNOWN_STREAM_TEXT)
        return _stat(method, error)
    if isinstance(error, StatusError):
        return error
    for kind, code, details in _FAILURES:
        if isinstance(error, kind):
            log.info("%s: %s", method.name, details)
            return StatusError(code, details)
    log.error("%s failed", method.name, exc_info=error)
    return StatusError(grpc.StatusCode.INTERNAL, "internal error")


def _log_call(method: Method, outcome: str, started: float) -> None:
    if log.isEnabledFor(logging.DEBUG):
        facts = {"method": method.name, "outcome": outcome, "ms": round((time.monotonic() - started) * 1000, 3)}
        log.debug("call %s", json.dumps(facts), extra={"facts": facts})


def _has_stat(reply: Reply) -> bool:
    """A message with a stat is the last of its stream."""
    return not isinstance(reply, bytes) and reply.HasField("stat")


async def _before(faults: list[Fault]) -> None:
    for fault in faults:
        action = fault.action
        if isinstance(action, Delay):
            fault.fired += 1
            await asyncio.sleep(action.seconds)
        elif isinstance(action, Refuse):
            fault.fired += 1
            raise StatusError(action.code, action.details)
        elif isinstance(action, Answer):
            fault.fired += 1
            raise Refusal(action.code, action.msg)


def _cut(faults: list[Fault], sent: int) -> None:
    for fault in faults:
        if isinstance(fault.action, CutAfter) and fault.action.messages <= sent:
            fault.fired += 1
            raise StatusError(fault.action.code, fault.action.details)


def _spoilt(method: Method, reply: Reply, number: int, faults: list[Fault]) -> bytes:
    """The bytes of a message, corrupted if a fault says so."""
    data = reply if isinstance(reply, bytes) else bytes(reply.SerializeToString())
    for fault in faults:
        if isinstance(fault.action, Corrupt) and fault.action.message == number:
            fault.fired += 1
            data = corrupted(method.response.FromString(data), fault.action.what)
    return data
