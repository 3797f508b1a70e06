"""What no stream shows alone: rows of a specification that cannot all come true."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from uuid import UUID

from airflow_provider_btrdb.documents.faults import Fault
from airflow_provider_btrdb.provision.specs import Path, WantedStream


def clashes(
    streams: Iterable[WantedStream], namespace: UUID, source: str, counted: str, line_of: Callable[[int], int]
) -> Iterator[Fault]:
    """Two rows may not mean one stream; `moved_from` is a place that no row has now, and that one row claims."""
    rows = list(streams)
    places: dict[Path, int] = {}
    uuids: dict[UUID, int] = {}
    origins: dict[Path, int] = {}

    def fault(row: WantedStream, field: str, message: str) -> Fault:
        return Fault(source, line_of(row.place), field, message, counted)

    def at(place: int) -> str:
        return f"{counted} {line_of(place)}"

    for row in rows:
        if row.uuid is not None:
            if row.uuid in uuids:
                yield fault(row, "uuid", f"{at(uuids[row.uuid])} has the same: {row.uuid}")
            uuids.setdefault(row.uuid, row.place)
        else:
            if row.path in places:
                earlier = f"{at(places[row.path])}"
                yield fault(row, "", f"{earlier} means the same stream: {'/'.join(row.path)}")
            places.setdefault(row.path, row.place)
    for row in rows:
        origin = row.moved_from
        if uuids and row.uuid is None and row.new_uuid(namespace) in uuids:
            namer = uuids[row.new_uuid(namespace)]
            yield fault(row, "", f"{at(namer)} names the uuid that it would get: {row.new_uuid(namespace)}")
        if origin is None:
            continue
        if row.uuid is not None:
            yield fault(row, "moved_from", "is not needed where the uuid is named: the stream is moved to its new name")
        elif origin in places:
            yield fault(row, "moved_from", f"{at(places[origin])} is at {'/'.join(origin)}: move in two steps")
        elif origin in origins:
            yield fault(row, "moved_from", f"{at(origins[origin])} comes from {'/'.join(origin)} too")
        origins.setdefault(origin, row.place)
