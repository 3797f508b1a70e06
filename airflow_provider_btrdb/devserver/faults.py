"""Faults on purpose, for tests of clients: which calls of a method go wrong, and how.

Only the in-process form of the server takes a plan: no flag, environment variable or RPC reaches it. A fault counts the
calls of its method from the moment when it is added, starting with 1, and counts how often it fired.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import grpc

from airflow_provider_btrdb.protocol import METHODS
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


@dataclass(frozen=True, slots=True)
class Refuse:
    """End the call with a gRPC status before the handler runs."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    details: str = "fault: refused"


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer with `Status{code, msg}` before the handler runs."""

    code: int
    msg: str = "fault"


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before the handler runs."""

    seconds: float


@dataclass(frozen=True, slots=True)
class LoseReply:
    """Run the handler to its end, commit included, and then end the call with a gRPC status instead of the answer."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    details: str = "fault: the reply was lost"


@dataclass(frozen=True, slots=True)
class CutAfter:
    """End a server stream after so many messages."""

    messages: int
    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    details: str = "fault: the stream was cut"


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Send a wrong message: the `message`-th of the call, counted from 1.

    `garbage` is no protobuf at all, `status` adds an empty `Status{}`, `version` adds one to version_major, `uuid`
    changes the uuid of a descriptor or subscription, `nothing` is a message without any field.
    """

    what: Literal["garbage", "status", "version", "uuid", "nothing"]
    message: int = 1


Action = Refuse | Answer | Delay | LoseReply | CutAfter | Corrupt


class Fault:
    """One action on the calls `first` to `last` (inclusive; default: only the first one) of a method."""

    def __init__(self, method: str, action: Action, *, first: int = 1, last: int | None = None) -> None:
        if method not in METHODS:
            raise ValueError(f"{method!r} is no method of the service")
        self.method = method
        self.action = action
        self.first = first
        self.last = first if last is None else last
        if not 1 <= self.first <= self.last:
            raise ValueError("calls are counted from 1, and last must not be before first")
        self.seen = 0
        """Calls of the method since the fault was added."""
        self.fired = 0
        """How often it happened; a CutAfter or Corrupt counts when its message is reached."""


class FaultPlan:
    """The faults of a server; may be changed while it runs, from any thread."""

    def __init__(self, *faults: Fault) -> None:
        self._faults = list(faults)
        self._guard = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Start counting for one more fault."""
        with self._guard:
            self._faults.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Forget a fault."""
        with self._guard:
            self._faults.remove(fault)

    @contextlib.contextmanager
    def inject(self, method: str, action: Action, *, first: int = 1, last: int | None = None) -> Iterator[Fault]:
        """A fault for the length of a `with` block."""
        fault = self.add(Fault(method, action, first=first, last=last))
        try:
            yield fault
        finally:
            self.remove(fault)

    def of_call(self, method: str) -> list[Fault]:
        """Count a call and return the faults that concern it."""
        hit = []
        with self._guard:
            for fault in self._faults:
                if fault.method == method:
                    fault.seen += 1
                    if fault.first <= fault.seen <= fault.last:
                        hit.append(fault)
        return hit


def corrupted(message: Any, what: str) -> bytes:
    """A message gone wrong, as bytes."""
    if what == "garbage":
        return b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
    if what == "nothing":
        return b""
    if what == "status":
        message.stat.CopyFrom(pb.Status())
    elif what == "version":
        message.version_major += 1
    else:
        for part in getattr(message, "results", None) or [getattr(message, "descriptor", message)]:
            part.uuid = bytes(byte ^ 0xFF for byte in part.uuid)
    return bytes(message.SerializeToString())
