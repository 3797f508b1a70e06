"""Requests that no client should send, by the thousand: each is answered with a refusal that somebody chose.

Random bytes, valid requests with bytes changed, cut or repeated, any value in any field, text where SQL should be,
broken Arrow, and now and then something huge. What is allowed: an answer, a BTrDB stat, or one of the gRPC statuses in
`CHOSEN`.
A stream that nobody may touch must stay as it is, and the server must have nothing to log.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import pyarrow as pa

from airflow_provider_btrdb.protocol import METHODS, Code, Kind
from airflow_provider_btrdb.testing import devserver_process
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SENDERS = 4
PATIENCE = 60.0
SUBSCRIBE_SECONDS = 0.05
"""A Subscribe call that is not refused goes on; its own deadline ends it."""
HUGE = 65 << 20
CHOSEN = {
    (grpc.StatusCode.INTERNAL, "error unmarshalling request"),
    (grpc.StatusCode.UNKNOWN, "[404] stream does not exist"),
}
TOO_LARGE = "Received message larger than max"
SQL = [
    "select * from streams where collection = $1",
    "select count(*), unit from streams group by unit having count(*) > $1::int",
    "with s as (select uuid, annotations -> 'k' as k from streams) select * from s order by k limit 3",
    "values (1, 'x'), (2, null)",
]


class Sender(threading.Thread):
    """Sends its share, and remembers what came of it."""

    def __init__(self, endpoint: str, streams: list[bytes], share: int, seed: str) -> None:
        super().__init__()
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._endpoint, self._streams, self._share = endpoint, streams, share
        self._chance = random.Random(seed)

    def run(self) -> None:
        with WireClient(self._endpoint, timeout=PATIENCE) as wire:
            for number in range(self._share):
                method = self._chance.choice(list(METHODS))
                if method == "Subscribe" and self._chance.random() < 0.7:
                    method = "ArrowInsert"  # its share would be spent on waiting
                request = b"\0" * HUGE if number == self._share // 2 else self._request(method)
                outcome = self._send(wire, method, request)
                self.outcomes[outcome] += 1
                if outcome.startswith("wrong"):
                    self.wrong.append(f"{method} {request[:200].hex()}: {outcome}")
                    return

    def _send(self, wire: WireClient, method: str, request: bytes) -> str:
        bidi = METHODS[method].kind is Kind.BIDI_STREAM
        try:
            if bidi:
                known = METHODS[method]
                follow = wire.channel.stream_stream(known.path, response_deserializer=known.response.FromString)
                messages = list(follow(iter([request]), timeout=SUBSCRIBE_SECONDS))
            else:
                answer = wire.start(method, request)
                messages = [answer] if METHODS[method].kind is Kind.UNARY else list(answer)
        except grpc.RpcError as error:
            return _status(error.code(), error.details(), bidi)
        for message in messages:
            if message.HasField("stat") and message.stat.code not in set(Code):
                return f"wrong: stat {message.stat}"
        return "stat" if messages and messages[-1].HasField("stat") else "answer"

    def _request(self, method: str) -> bytes:
        dice = self._chance.random()
        if dice < 0.15:
            return self._chance.randbytes(self._chance.choice([1, 3, 10, 50, 200]))
        request = bytes(self._filled(METHODS[method].request()).SerializeToString())
        return request if dice < 0.55 else self._mutated(request)

    def _filled(self, message: Any, depth: int = 0) -> Any:
        """Some fields of a message, each with a value of its type that may make sense or none."""
        for field in message.DESCRIPTOR.fields:
            if self._chance.random() < 0.3:
                continue
            if field.type == field.TYPE_MESSAGE:
                if depth < 3:
                    target = getattr(message, field.name)
                    for _ in range(self._chance.randrange(3)):
                        self._filled(target.add() if field.is_repeated else target, depth + 1)
            elif field.is_repeated:
                getattr(message, field.name).extend(self._value(field) for _ in range(self._chance.randrange(4)))
            else:
                setattr(message, field.name, self._value(field))
        return message

    def _value(self, field: Any) -> Any:
        if field.type == field.TYPE_BYTES:
            return self._arrow() if "arrow" in field.name or "template" in field.name else self._uuid()
        if field.name == "query":
            return self._sql()
        choices: dict[int, Sequence[Any]] = {
            field.CPPTYPE_STRING: ["", "k", "name", "a/b", "\0", "é" * 130, "x" * 300, "'); drop table x", "1"],
            field.CPPTYPE_DOUBLE: [0.0, 1.5, float("nan"), float("inf"), 1e308],
            field.CPPTYPE_BOOL: [False, True],
            field.CPPTYPE_ENUM: range(6),
        }
        if field.cpp_type in choices:
            return self._chance.choice(choices[field.cpp_type])
        return self._number(field)

    def _number(self, field: Any) -> int:
        chance = self._chance
        top = {field.CPPTYPE_INT32: 31, field.CPPTYPE_UINT32: 32, field.CPPTYPE_INT64: 63}.get(field.cpp_type, 64)
        number: int = chance.choice([0, 1, 2, 11, 63, 64, 10**9, 2 ** chance.randrange(top), 2**top - 1])
        signed = field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_INT64)
        return -number if signed and chance.random() < 0.3 else number

    def _uuid(self) -> bytes:
        chance = self._chance
        return chance.choice([*self._streams, chance.randbytes(16), chance.randbytes(chance.randrange(20))])

    def _arrow(self) -> bytes:
        chance, count = self._chance, self._chance.randrange(50)
        times = pa.array([chance.randrange(10**6) for _ in range(count)], pa.int64())
        values = pa.array([chance.choice([1.0, None, float("nan")]) for _ in range(count)], pa.float64())
        columns: list[Any] = [times.cast(pa.timestamp("ns")), values, times.cast(pa.string()), pa.nulls(count)]
        table = pa.table({f"c{n}": chance.choice(columns) for n in range(chance.randrange(1, 4))})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        whole = chance.choice([sink.getvalue().to_pybytes(), table.schema.serialize().to_pybytes()])
        return whole if chance.random() < 0.3 else self._mutated(whole)

    def _sql(self) -> str:
        query = self._chance.choice(SQL)
        return query if self._chance.random() < 0.3 else self._mutated(query.encode()).decode(errors="ignore")

    def _mutated(self, whole: bytes) -> bytes:
        """Some bytes changed, cut out or repeated."""
        chance, data = self._chance, bytearray(whole)
        for _ in range(chance.randrange(1, 5)):
            if not data:
                break
            at, length = chance.randrange(len(data)), chance.randrange(1, 9)
            what = chance.randrange(4)
            if what == 0:
                data[at] = chance.randrange(256)
            elif what == 1:
                del data[at : at + length]
            elif what == 2:
                data[at:at] = data[at : at + length]
            else:
                del data[at:]
        return bytes(data)


def _status(code: grpc.StatusCode, details: str, bidi: bool) -> str:
    too_large = code is grpc.StatusCode.RESOURCE_EXHAUSTED and TOO_LARGE in details
    if too_large or (code, details) in CHOSEN:
        return str(code.name)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED and bidi:
        return "answer"
    return f"wrong: {code.name} {details}"


def _witness(wire: WireClient) -> Iterator[Any]:
    """A stream that no request names: whatever it was at first it must be for ever."""
    raw = uuid.uuid4().bytes
    wire.call("Create", pb.CreateParams(uuid=raw, collection=f"witness/{raw.hex()}"))
    wire.call("Insert", pb.InsertParams(uuid=raw, values=[pb.RawPoint(time=n, value=n) for n in range(1_000)]))
    while True:
        info = wire.call("StreamInfo", pb.StreamInfoParams(uuid=raw))
        yield info, wire.call("RawValues", pb.RawValuesParams(uuid=raw, start=0, end=10**6))


def run(requests: int, seed: int) -> dict[str, Any]:
    """So many requests, and what was found."""
    chance = random.Random(seed)
    with devserver_process() as process, WireClient(process.endpoint, timeout=PATIENCE) as wire:
        streams = [uuid.uuid4().bytes for _ in range(3)]
        for number, raw in enumerate(streams):
            wire.call("Create", pb.CreateParams(uuid=raw, collection=f"malformed/{number}"))
            values = [pb.RawPoint(time=n * 1_000, value=n) for n in range(200)]
            wire.call("Insert", pb.InsertParams(uuid=raw, values=values))
        witness = _witness(wire)
        first = next(witness)
        senders = [Sender(process.endpoint, streams, requests // SENDERS, f"{chance.random()}") for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        wrong = []
        while any(sender.is_alive() for sender in senders):
            for sender in senders:
                sender.join(1 / SENDERS)
            if next(witness) != first:
                wrong.append("a stream that nobody touched has changed")
        if next(witness) != first:
            wrong.append("a stream that nobody touched has changed")
        if process.terminate() != 0:
            wrong.append("the server ended badly")
        if process.errors:
            wrong.append(f"the server logged: {process.errors[:2000]}")
    outcomes: Counter[str] = sum((sender.outcomes for sender in senders), Counter())
    wrong += [one for sender in senders for one in sender.wrong]
    return {"requests": outcomes.total(), **dict(sorted(outcomes.items())), "wrong": wrong}
