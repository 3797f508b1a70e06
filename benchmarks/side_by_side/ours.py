"""The work done by `airflow_provider_btrdb.client`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.client import Points, connect
from side_by_side import data, work


class _Ours(work.Work):
    def __init__(self, size: int, endpoint: str, api_key: str | None) -> None:
        super().__init__(size, endpoint, api_key)
        self.db = connect(endpoint, api_key)

    def close(self) -> None:
        self.db.close()


class Create(_Ours, work.Create):
    """Rows of a manifest without uuids: every collection is looked up, every uuid derived."""

    def run(self) -> None:
        self.result = self.db.create_many(self.rows)

    def uuids(self) -> list[UUID]:
        assert all(result.outcome == "created" for result in self.result)
        return [result.uuid for result in self.result]


class Lookup(_Ours, work.Lookup):
    """Every value of every stream, in a list; the handles are not kept."""

    def run(self) -> None:
        self.result = [
            (stream.uuid, stream.collection, stream.tags, stream.annotations)
            for stream in self.db.lookup_iter(data.collection(self.size))
        ]


class LookupCount(_Ours, work.Work):
    def run(self) -> None:
        self.result = self.db.count_streams(data.collection(self.size))

    def compare(self) -> int:
        assert self.result == self.size
        return self.size


class _Iterated(_Ours, work.Work):
    """Keeps nothing, so the work is done once more, not measured, to compare every item."""

    def read(self) -> Iterator[Any]:
        raise NotImplementedError

    def expected(self, number: int) -> Any:
        raise NotImplementedError

    def run(self) -> None:
        self.result = sum(1 for _ in self.read())

    def compare(self) -> int:
        assert self.result == self.size
        for number, item in enumerate(self.read()):
            assert item == self.expected(number), item
        return number + 1


class LookupIter(_Iterated):
    """Every value of every stream."""

    def read(self) -> Iterator[data.StreamValues]:
        for stream in self.db.lookup_iter(data.collection(self.size)):
            yield stream.uuid, stream.collection, stream.tags, stream.annotations

    def expected(self, number: int) -> data.StreamValues:
        return data.stream(number, data.collection(self.size))


class Sql(_Ours, work.Sql):
    def run(self) -> None:
        self.result = self.db.query(self.STATEMENT, [self.size])


class SqlIter(_Iterated):
    def read(self) -> Iterator[dict[str, Any]]:
        return self.db.query_iter(work.Sql.STATEMENT, [self.size])

    def expected(self, number: int) -> dict[str, Any]:
        return data.row(number)


class Values(_Ours, work.Values):
    """Without pyarrow, so that points come as RawPoints."""

    def prepare(self) -> None:
        assert "pyarrow" not in sys.modules

    def run(self) -> None:
        stream = self.db.stream_from_uuid(data.STREAM)
        self.result = stream.values(data.FIRST_NS, data.end_ns(self.size))

    def columns(self) -> tuple[Any, Any]:
        return self.result.times, self.result.values


class ArrowValues(Values):
    """With pyarrow loaded, as it is at the import of the official client: points come in Arrow then."""

    def prepare(self) -> None:
        importlib.import_module("pyarrow")


class ValuesIter(_Ours, work.Work):
    """Page by page; as above, the work is done once more to compare."""

    def pages(self) -> Iterator[Points]:
        return self.db.stream_from_uuid(data.STREAM).values_iter(data.FIRST_NS, data.end_ns(self.size))

    def run(self) -> None:
        self.result = sum(len(page) for page in self.pages())

    def compare(self) -> int:
        assert self.result == self.size
        done = 0
        for page in self.pages():
            done = work.same_page(page.times, page.values, done)
        return done


class Insert(_Ours, work.Insert):
    def prepare(self) -> None:
        self.points = self.columns()

    def run(self) -> None:
        self.result = self.db.stream_from_uuid(data.STREAM).insert(Points.from_columns(*self.points))


class InsertTuples(_Ours, work.Insert):
    def prepare(self) -> None:
        self.points = self.pairs()

    def run(self) -> None:
        self.result = self.db.stream_from_uuid(data.STREAM).insert(self.points)


CASES = {
    "create": Create,
    "lookup": Lookup,
    "count": LookupCount,
    "lookup-iter": LookupIter,
    "sql": Sql,
    "sql-iter": SqlIter,
    "values": Values,
    "arrow-values": ArrowValues,
    "values-iter": ValuesIter,
    "insert": Insert,
    "insert-tuples": InsertTuples,
}
