"""A specification of what exists, to begin with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from uuid import UUID

from airflow_provider_btrdb.catalog.snapshot import Scope, Snapshot, read
from airflow_provider_btrdb.catalog.streams import StoredStream
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.bulk import Work
from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE, derived_uuid, uuid_of
from airflow_provider_btrdb.provision.specs import Spec, WantedStream, listed


def import_spec(prefixes: str | Iterable[str], *, namespace: UUID = DEFAULT_NAMESPACE) -> Work[Spec]:
    """The specification of all streams below these prefixes that the key may see: `db.run(import_spec(["grid/"]))`."""
    wanted = listed(prefixes)

    async def work(calls: AsyncCalls) -> Spec:
        return spec_of(await read(Scope.of(wanted, ()))(calls), wanted, namespace)

    return work


def spec_of(snapshot: Snapshot, prefixes: Iterable[str], namespace: UUID = DEFAULT_NAMESPACE) -> Spec:
    """Comparing it with the same snapshot finds no difference.

    A uuid is written where it is not the derived one, or where two streams have one name. A stream without a name
    cannot be written: it is counted in `unnamed`, stays unmanaged, and `prune` leaves it alone.
    """
    named = Counter(stream.path for stream in snapshot.values())
    ordered = sorted(snapshot.values(), key=lambda stream: (stream.collection, stream.name, stream.uuid))
    streams = tuple(_wanted(stream, named[stream.path], namespace) for stream in ordered if stream.name)
    return Spec(
        streams=streams,
        prefixes=tuple(sorted(set(prefixes))),
        namespace=namespace,
        source="import",
        unnamed=len(ordered) - len(streams),
    )


def _wanted(stream: StoredStream, namesakes: int, namespace: UUID) -> WantedStream:
    uuid = uuid_of(stream.uuid)
    derived = namesakes == 1 and uuid == derived_uuid(stream.collection, stream.name, namespace=namespace)
    return WantedStream(
        collection=stream.collection,
        name=stream.name,
        unit=stream.unit,
        ingress=stream.ingress,
        distiller=stream.distiller,
        annotations=stream.annotations,
        uuid=None if derived else uuid,
    )
