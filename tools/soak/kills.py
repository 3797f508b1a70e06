"""kill -9 at random moments under load: what was acknowledged is there, what was not is there as a whole or not at all.

Each writer sends one request at a time and keeps a model of its stream. When the answer to a request is lost, the
stream must be as it was before that request or as it is after it, and nothing else. Every round kills one of three: the
server, PostgreSQL's first process, or one of its other processes (after which PostgreSQL recovers by itself and the
server goes on). Some restarts are killed as well, before they are ready.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from airflow_provider_btrdb.testing import ServerProcess, devserver_process
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

POINT_WRITERS, CREATORS = 4, 2
KINDS = ("server", "postgresql", "postgresql child")
RECOVERY_SECONDS = 120
PATIENCE = 60.0
READ_TRIES = 40
GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
"""What a caller hears of a server that ends; CANCELLED when the call arrived in its very last moment."""

Points = dict[int, float]
State = tuple[int, Points]
"""Version and points of a stream."""


class Writer(threading.Thread):
    """Replaces, adds and deletes points of a stream of its own until the server is gone, or `over` is set."""

    def __init__(self, endpoint: str, over: threading.Event, seed: str) -> None:
        super().__init__()
        self._over = over
        self.uuid = uuid.uuid4().bytes
        self.state: State = (10, {})
        """Version and points after the last answer."""
        self.maybe: State | None = None
        """The state after the request whose answer was lost."""
        self.acknowledged = 0
        self.wrong: list[str] = []
        self._endpoint = endpoint
        self._chance = random.Random(seed)
        self._clock = 0

    def run(self) -> None:
        with WireClient(self._endpoint, timeout=PATIENCE) as wire:
            try:
                wire.call("Create", pb.CreateParams(uuid=self.uuid, collection=f"soak/{self.uuid.hex()}"))
                while not self._over.is_set():
                    self._write(wire)
            except grpc.RpcError as error:
                if error.code() not in GONE:
                    self.wrong.append(f"{error.code().name} {error.details()}")

    def _write(self, wire: WireClient) -> None:
        version, points = self.state
        after = dict(points)
        if points and self._chance.random() < 0.1:
            start = self._clock - self._chance.randrange(500)
            end = start + self._chance.randrange(1, 200)
            for time_ns in range(start, end):
                after.pop(time_ns, None)
            method = "Delete"
            request: Any = pb.DeleteParams(uuid=self.uuid, start=start, end=end)
        else:
            begin = self._clock - self._chance.choice([0, 0, 0, 50])
            count = self._chance.choice([1, 20, 20, 200])
            fresh = {begin + n: self._chance.random() for n in range(count)}
            after |= fresh
            values = [pb.RawPoint(time=t, value=v) for t, v in fresh.items()]
            method, request = "Insert", pb.InsertParams(uuid=self.uuid, values=values, merge_policy=pb.REPLACE)
            self._clock = max(self._clock, begin + count)
        self.maybe = version + 1, after
        answer = wire.call(method, request)
        if answer.HasField("stat") or answer.version_major != version + 1:
            self.wrong.append(f"{method} answered {answer}")
        self.state, self.maybe = self.maybe, None
        self.acknowledged += 1


class Creator(threading.Thread):
    """Creates streams, one after the other, until the server is gone, or `over` is set."""

    def __init__(self, endpoint: str, over: threading.Event) -> None:
        super().__init__()
        self._over = over
        self.created: list[bytes] = []
        self.unanswered = b""
        self.wrong: list[str] = []
        self._endpoint = endpoint

    def run(self) -> None:
        with WireClient(self._endpoint, timeout=PATIENCE) as wire:
            try:
                while not self._over.is_set():
                    self.unanswered = uuid.uuid4().bytes
                    answer = wire.call("Create", descriptor(self.unanswered))
                    if answer.HasField("stat"):
                        self.wrong.append(f"Create answered {answer}")
                    self.created.append(self.unanswered)
            except grpc.RpcError as error:
                if error.code() not in GONE:
                    self.wrong.append(f"{error.code().name} {error.details()}")


def descriptor(raw: bytes) -> pb.CreateParams:
    """All that is said of a stream follows from its uuid."""
    pair = pb.KeyOptValue(key="name", val=pb.OptValue(value=raw.hex()))
    return pb.CreateParams(uuid=raw, collection=f"soak/created/{raw[:1].hex()}", tags=[pair], annotations=[pair])


class Soak:
    """Counts of a whole run."""

    def __init__(self, process: ServerProcess, seed: int) -> None:
        self._process = process
        self._chance = random.Random(seed)
        self._streams: dict[bytes, State] = {}
        self._created: set[bytes] = set()
        self.counts: Counter[str] = Counter()
        self.slowest = 0.0
        self.wrong: list[str] = []
        self._doomed: set[int] = set()
        """The processes that PostgreSQL ends, all of them, because one was killed."""

    def round(self, number: int) -> None:
        """Load, a kill, a restart, and a look at everything that was written in this round."""
        kind = KINDS[number % len(KINDS)]
        endpoint = self._process.endpoint
        over = threading.Event()
        writers = [Writer(endpoint, over, f"{self._chance.random()}") for _ in range(POINT_WRITERS)]
        creators = [Creator(endpoint, over) for _ in range(CREATORS)]
        for thread in (*writers, *creators):
            thread.start()
        deadline = time.monotonic() + PATIENCE
        while not all(writer.acknowledged for writer in writers) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(self._chance.random())
        self._kill(kind)
        over.set()
        for thread in (*writers, *creators):
            thread.join()
        self.wrong += [one for thread in writers for one in thread.wrong]
        self.wrong += [one for thread in creators for one in thread.wrong]
        self._start_again(kind)
        with WireClient(self._process.endpoint, timeout=PATIENCE) as wire:
            for writer in writers:
                self._check(wire, writer)
            for creator in creators:
                self._check_created(wire, creator)

    def _kill(self, kind: str) -> None:
        self.counts[f"{kind} killed"] += 1
        if kind == "server":
            self._process.kill()
        elif kind == "postgresql":
            os.kill(self._first(), signal.SIGKILL)
            if self._process.wait() != 1 or "PostgreSQL ended by itself" not in self._process.errors:
                self.wrong.append("the server did not say that PostgreSQL ended")
        else:
            # A backend, or one of PostgreSQL's own: it then ends all of them and starts anew.
            killed = False
            while not killed:
                self._doomed = set(children(self._first()))
                with contextlib.suppress(ProcessLookupError):  # it ended by itself
                    os.kill(self._chance.choice(sorted(self._doomed)), signal.SIGKILL)
                    killed = True

    def _first(self) -> int:
        """PostgreSQL's first process."""
        return int((self._process.data / "postgres" / "postmaster.pid").read_text().split()[0])

    def _start_again(self, kind: str) -> None:
        if kind == "postgresql child":
            self._wait_until_answered()
            return
        self._wait_for_no_orphans()
        if self._chance.random() < 0.25:
            self._kill_while_starting()
        began = time.monotonic()
        self._process.start()
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _kill_while_starting(self) -> None:
        killer = threading.Timer(self._chance.random(), self._kill_if_running)
        killer.start()
        with contextlib.suppress(RuntimeError):
            self._process.start()
        killer.join()
        self._process.kill()
        self.counts["restart killed"] += 1
        self._wait_for_no_orphans()

    def _kill_if_running(self) -> None:
        if self._process.running():
            os.kill(self._process.pid, signal.SIGKILL)

    def _wait_for_no_orphans(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while left := processes_of(self._process.data):
            if time.monotonic() > deadline:
                self.counts["orphans"] += len(left)
                self.wrong.append(f"orphans: {left}")
                return
            time.sleep(0.02)

    def _wait_until_answered(self) -> None:
        """PostgreSQL recovers under a server that goes on. At first it may answer as if nothing had happened."""
        deadline = time.monotonic() + RECOVERY_SECONDS
        while self._doomed & set(children(self._first())) and time.monotonic() < deadline:
            time.sleep(0.02)
        with WireClient(self._process.endpoint, timeout=PATIENCE) as wire:
            while time.monotonic() < deadline:
                with contextlib.suppress(grpc.RpcError):
                    if not wire.call("GetMetadataUsage").HasField("stat"):
                        return
                time.sleep(0.05)
        self.wrong.append("the server did not recover")

    def _check(self, wire: WireClient, writer: Writer) -> None:
        got = read(wire, writer.uuid)
        self.counts["acknowledged writes"] += writer.acknowledged
        self._streams[writer.uuid] = got
        if got == writer.state:
            return
        if writer.maybe is not None and got == writer.maybe:
            self.counts["unacknowledged writes found whole"] += 1
        elif got[0] == writer.state[0] or (writer.maybe is not None and got[0] == writer.maybe[0]):
            self.counts["half-written"] += 1
            self.wrong.append(f"a stream at version {got[0]} has other points than were written")
        else:
            self.counts["lost"] += 1
            self.wrong.append(f"a stream is at version {got[0]}, {writer.state[0]} was acknowledged")

    def _check_created(self, wire: WireClient, creator: Creator) -> None:
        self.counts["acknowledged writes"] += len(creator.created)
        self._created.update(creator.created)
        answer = answered(wire, "Create", descriptor(creator.unanswered))
        if answer.HasField("stat") and answer.stat.code != 417:
            self.wrong.append(f"a stream whose creation was cut answers {answer.stat.code}")
        self._created.add(creator.unanswered)

    def final(self) -> None:
        """Everything of all rounds, once more."""
        with WireClient(self._process.endpoint, timeout=PATIENCE) as wire:
            for raw, state in self._streams.items():
                if read(wire, raw) != state:
                    self.counts["lost"] += 1
                    self.wrong.append("a stream of an earlier round has changed")
            request = pb.LookupStreamsParams(collection="soak/created/", is_collection_prefix=True)
            pages = answered(wire, "LookupStreams", request)
            found = {stream.uuid: stream for page in pages for stream in page.results}
        lost = self._created - found.keys()
        self.counts["lost"] += len(lost)
        if lost:
            self.wrong.append(f"{len(lost)} created streams are lost")
        for raw, stream in found.items():
            made = descriptor(raw)
            name = {tag.key: tag.val.value for tag in stream.tags}["name"]
            whole = (made.collection, raw.hex(), list(made.annotations))
            if (stream.collection, name, list(stream.annotations)) != whole:
                self.wrong.append("a created stream has other metadata")


def answered(wire: WireClient, method: str, request: Any) -> Any:
    """A call that may be made again, while the server says that it may pass: the database can be late, or recover."""
    for left in reversed(range(READ_TRIES)):
        try:
            return wire.call(method, request)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE or not left:
                raise
            time.sleep(0.5)


def read(wire: WireClient, raw: bytes) -> State:
    """Version and points of a stream; a time that comes twice is not kept apart from a wrong value."""
    pages = answered(wire, "RawValues", pb.RawValuesParams(uuid=raw, start=-(10**9), end=10**15))
    points = [(point.time, point.value) for page in pages for point in page.values]
    if len(dict(points)) != len(points):
        return -1, dict(points)
    return pages[-1].version_major, dict(points)


def processes() -> Iterator[tuple[int, int, bytes]]:
    """Number, parent and command line of everything that runs."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                yield int(entry.name), parent, (entry / "cmdline").read_bytes()


def children(pid: int) -> list[int]:
    """Processes that a process has started, without those that have ended and show no command any more."""
    return [number for number, parent, command in processes() if parent == pid and command]


def processes_of(data: Path) -> list[int]:
    """PostgreSQL's processes of a data directory. Its children show a title instead, but stand in the same place."""
    found = []
    for number, _, command in processes():
        with contextlib.suppress(OSError):
            place = os.readlink(f"/proc/{number}/cwd")
            if place == str(data / "postgres") or str(data / "postgres").encode() in command.split(b"\0"):
                found.append(number)
    return found


def run(kills: int, seed: int) -> dict[str, Any]:
    """So many kills, and what was found."""
    with (
        tempfile.TemporaryDirectory(prefix="btrdb-soak-", ignore_cleanup_errors=True) as directory,
        devserver_process(data=Path(directory).resolve() / "data", durability="full") as process,
    ):
        soak = Soak(process, seed)
        for number in range(kills):
            soak.round(number)
            if soak.wrong:
                break
        soak.final()
        if process.terminate() != 0:
            soak.wrong.append(f"the server ended badly: {process.errors}")
    named = (
        "restart killed",
        "acknowledged writes",
        "unacknowledged writes found whole",
        "lost",
        "half-written",
        "orphans",
    )
    ways = [f"{kind} killed" for kind in KINDS]
    return {
        "kills": sum(soak.counts[way] for way in ways),
        **{name: soak.counts[name] for name in (*ways, *named)},
        "slowest_restart_s": round(soak.slowest, 2),
        "wrong": soak.wrong,
    }
