"""Asset events for streams that are known only when the task runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_btrdb._airflow import AirflowFailException, AssetAlias
from airflow_provider_btrdb.hooks.facets import MOST_STREAMS

if TYPE_CHECKING:
    from uuid import UUID

    from airflow_provider_btrdb.client import BTrDB, Stream


class Written(NamedTuple):
    """A stream that was written to; a `Stream` serves as well."""

    uuid: UUID
    collection: str


def aliases(outlets: Iterable[Any]) -> list[AssetAlias]:
    """Where the events of a task go. Fails for good when there is no such place."""
    found = [outlet for outlet in outlets if isinstance(outlet, AssetAlias)]
    if not found:
        raise AirflowFailException("emit_asset=True needs an AssetAlias among the outlets of the task, to emit through")
    return found


def emit(
    context: Any, outlets: Iterable[Any], db: BTrDB, streams: Iterable[Written | Stream], extra: Mapping[str, Any]
) -> None:
    """One event for each stream, or for each of their collections when there are many."""
    from airflow_provider_btrdb.assets.streams import create_asset

    host, _, port = db.config.endpoint.rpartition(":")
    create = partial(create_asset, host=host.strip("[]"), port=int(port))
    collection_of = {stream.uuid: stream.collection for stream in streams}
    if len(collection_of) <= MOST_STREAMS:
        assets = [create(uuid=uuid) for uuid in collection_of]
    else:
        assets = [create(collection=collection) for collection in sorted(set(collection_of.values()))]
    for alias in aliases(outlets):
        for asset in assets:
            context["outlet_events"][alias].add(asset, extra=dict(extra))
