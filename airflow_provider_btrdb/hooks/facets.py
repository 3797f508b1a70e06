"""What OpenLineage is told of a task that has ended: what it read and wrote, as the task itself saw it.

Nothing here asks the server. Airflow's listener waits for what an operator tells, and a server that is away must not
hold it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_btrdb.assets.streams import SCHEME
from airflow_provider_btrdb.hooks.task import HasBTrDBHook

if TYPE_CHECKING:
    from uuid import UUID

    from airflow.providers.openlineage.extractors import OperatorLineage

    from airflow_provider_btrdb.client import Stream

MOST_STREAMS = 100
"""Of more streams than this, the collections are told."""

TABLE = "metadata.public.streams"
"""The one table of BTrDB's SQL, as Airflow's SQL operators name it too."""


class Check(NamedTuple):
    """One check of a dataset, and whether it passed."""

    name: str
    column: str | None
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Touched:
    """A stream that a task read or wrote."""

    uuid: UUID | str
    collection: str | None = None
    name: str | None = None
    version: int | None = None
    """Of its data, after the task; None if the task has not seen it."""
    rows: int | None = None
    """Points written."""

    @classmethod
    def of(cls, stream: Stream, *, version: int | None = None, rows: int | None = None) -> Touched:
        """A stream whose descriptor is at hand."""
        return cls(uuid=stream.uuid, collection=stream.collection, name=stream.name, version=version, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """A dataset in OpenLineage's sense: a stream (by its uuid), a collection, the table `streams`, a file."""

    namespace: str
    name: str
    also: str | None = None
    """What people call it: `collection/name` of a stream."""
    version: int | None = None
    rows: int | None = None
    size: int | None = None
    """In bytes."""
    change: str | None = None
    """CREATE, ALTER or DROP."""
    checks: Sequence[Check] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that is told of one task."""

    inputs: Sequence[Dataset] = ()
    outputs: Sequence[Dataset] = ()
    sql: str | None = None


def of_streams(endpoint: str, streams: Iterable[Touched], change: str | None = None) -> list[Dataset]:
    """The streams as datasets, or their collections when there are many; `endpoint` is `host:port`."""
    namespace = f"{SCHEME}://{endpoint}"
    listed = list(streams)
    if len(listed) > MOST_STREAMS:
        rows: Counter[str] = Counter()
        for stream in listed:
            rows[stream.collection or ""] += stream.rows or 0
        counted = any(stream.rows is not None for stream in listed)
        return [
            Dataset(namespace=namespace, name=collection, rows=count if counted else None, change=change)
            for collection, count in sorted(rows.items())
        ]
    return [
        Dataset(
            namespace=namespace,
            name=str(stream.uuid),
            also=f"{stream.collection}/{stream.name}" if stream.collection and stream.name else None,
            version=stream.version,
            rows=stream.rows,
            change=change,
        )
        for stream in listed
    ]


def of_collection(endpoint: str, collection: str, checks: Sequence[Check] = ()) -> Dataset:
    """A collection, or the table of all streams for ""."""
    return Dataset(namespace=f"{SCHEME}://{endpoint}", name=collection or TABLE, checks=checks)


def of_file(path: str, *, rows: int | None = None, size: int | None = None) -> Dataset:
    """A file of this machine, or an object by its URL, under OpenLineage's names for them."""
    scheme, separator, rest = path.partition("://")
    if not separator or scheme == "file":
        return Dataset(namespace="file", name=rest if separator else path, rows=rows, size=size)
    place, _, name = rest.partition("/")
    return Dataset(namespace=f"{scheme}://{place}", name=name, rows=rows, size=size)


class TellsLineage(HasBTrDBHook):
    """Mixed into operators and sensors that remember, while they run, what they will tell."""

    _told: Told | None = None

    def tell(self, *, inputs: Sequence[Dataset] = (), outputs: Sequence[Dataset] = (), sql: str | None = None) -> None:
        """Remember what was read and written."""
        self._told = Told(inputs=inputs, outputs=outputs, sql=sql)

    def tell_changed(self, *changes: tuple[str | None, Sequence[Touched]], inputs: Sequence[Dataset] = ()) -> None:
        """Remember which streams were changed, and how; and tell the hook's lineage their collections."""
        endpoint = self.hook.get_client().config.endpoint
        outputs = [dataset for change, streams in changes for dataset in of_streams(endpoint, streams, change)]
        self.tell(inputs=inputs, outputs=outputs)
        self.hook.report_lineage(outputs=[stream.collection or "" for _, streams in changes for stream in streams])

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """What the task read and wrote; also of a failed task, as far as it came."""
        from airflow.providers.openlineage.extractors import OperatorLineage

        told = self._told or Told()
        return OperatorLineage(
            inputs=[_input(dataset) for dataset in told.inputs],
            outputs=[_output(dataset) for dataset in told.outputs],
            job_facets=_job_facets(told),
        )


def _input(dataset: Dataset) -> Any:
    from openlineage.client.event_v2 import InputDataset
    from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

    facets: dict[str, Any] = {}
    if dataset.checks:
        facets["dataQualityAssertions"] = quality.DataQualityAssertionsDatasetFacet(
            assertions=[
                quality.Assertion(assertion=check.name, success=check.passed, column=check.column)
                for check in dataset.checks
            ]
        )
    return InputDataset(
        namespace=dataset.namespace, name=dataset.name, facets=_dataset_facets(dataset), inputFacets=facets
    )


def _output(dataset: Dataset) -> Any:
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.facet_v2 import output_statistics_output_dataset as statistics

    facets: dict[str, Any] = {}
    if dataset.rows is not None:
        facets["outputStatistics"] = statistics.OutputStatisticsOutputDatasetFacet(
            rowCount=dataset.rows, size=dataset.size
        )
    return OutputDataset(
        namespace=dataset.namespace, name=dataset.name, facets=_dataset_facets(dataset), outputFacets=facets
    )


def _dataset_facets(dataset: Dataset) -> dict[str, Any]:
    from openlineage.client.facet_v2 import (
        dataset_version_dataset,
        lifecycle_state_change_dataset,
        symlinks_dataset,
    )

    facets: dict[str, Any] = {}
    if dataset.also is not None:
        other = symlinks_dataset.Identifier(namespace=dataset.namespace, name=dataset.also, type="STREAM")
        facets["symlinks"] = symlinks_dataset.SymlinksDatasetFacet(identifiers=[other])
    if dataset.version is not None:
        version = str(dataset.version)
        facets["version"] = dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)
    if dataset.change is not None:
        change = lifecycle_state_change_dataset.LifecycleStateChange(dataset.change)
        facets["lifecycleStateChange"] = lifecycle_state_change_dataset.LifecycleStateChangeDatasetFacet(change)
    return facets


def _job_facets(told: Told) -> dict[str, Any]:
    if told.sql is None:
        return {}
    from openlineage.client.facet_v2 import sql_job

    return {"sql": sql_job.SQLJobFacet(query=told.sql)}
