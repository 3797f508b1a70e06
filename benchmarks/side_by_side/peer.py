"""The same work done by the official client, the way its documentation shows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID, uuid4

import btrdb
import numpy as np

from side_by_side import data, work


class _Peer(work.Work):
    def __init__(self, size: int, endpoint: str, api_key: str | None) -> None:
        super().__init__(size, endpoint, api_key)
        self.db: Any = btrdb.connect(endpoint, apikey=api_key)

    def close(self) -> None:
        self.db._executor.shutdown()


class Create(_Peer, work.Create):
    """One call after another, as it has no bulk create; uuids and keyword arguments are made beforehand."""

    def prepare(self) -> None:
        super().prepare()
        self.calls = [
            {
                "uuid": uuid4(),
                "collection": row["collection"],
                "tags": {key: row[key] for key in ("name", "unit", "ingress", "distiller")},
                "annotations": row["annotations"],
            }
            for row in self.rows
        ]

    def run(self) -> None:
        self.result = [self.db.create(**call) for call in self.calls]

    def uuids(self) -> list[UUID]:
        return [stream.uuid for stream in self.result]


class Lookup(_Peer, work.Lookup):
    """Its list holds the values of every stream already."""

    def run(self) -> None:
        self.result = self.db.streams_in_collection(data.collection(self.size), is_collection_prefix=True)

    def found(self) -> Iterable[data.StreamValues]:
        return ((stream.uuid, stream.collection, stream.tags(), stream.annotations()[0]) for stream in self.result)


class Sql(_Peer, work.Sql):
    def run(self) -> None:
        self.result = self.db.query(self.STATEMENT, [str(self.size)])


class Values(_Peer, work.Values):
    """A list of pairs of a RawPoint and a version; making columns of it is not measured."""

    def run(self) -> None:
        self.result = self.db.stream_from_uuid(data.STREAM).values(data.FIRST_NS, data.end_ns(self.size))

    def columns(self) -> tuple[Any, Any]:
        times = np.fromiter((point.time for point, _ in self.result), np.int64, len(self.result))
        return times, np.fromiter((point.value for point, _ in self.result), np.float64, len(self.result))


class ArrowValues(_Peer, work.Values):
    """A pyarrow.Table; making numpy columns of it is not measured."""

    def run(self) -> None:
        self.result = self.db.stream_from_uuid(data.STREAM).arrow_values(data.FIRST_NS, data.end_ns(self.size))

    def columns(self) -> tuple[Any, Any]:
        return self.result["time"].cast("int64").to_numpy(), self.result["value"].to_numpy()


class Insert(_Peer, work.Insert):
    """From a list of tuples, the only form that it takes besides Arrow; making the list is not measured."""

    def prepare(self) -> None:
        self.points = self.pairs()

    def run(self) -> None:
        self.result = self.db.stream_from_uuid(data.STREAM).insert(self.points)


class ArrowInsert(_Peer, work.Insert):
    """From a pyarrow.Table; making the table is not measured."""

    def prepare(self) -> None:
        self.points = self.table()

    def run(self) -> None:
        self.result = self.db.stream_from_uuid(data.STREAM).arrow_insert(self.points)


CASES = {
    "create": Create,
    "lookup": Lookup,
    "sql": Sql,
    "values": Values,
    "arrow-values": ArrowValues,
    "insert": Insert,
    "arrow-insert": ArrowInsert,
}
