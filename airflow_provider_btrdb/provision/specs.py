"""What should be there, as values: a specification after its file was read, expanded and checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from airflow_provider_btrdb.catalog.snapshot import Scope
from airflow_provider_btrdb.catalog.streams import Annotations
from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE, derived_uuid
from airflow_provider_btrdb.documents.faults import DocumentError

Path = tuple[str, str]
"""Collection and name."""

EVERY = "*"
"""In `owns`: all annotation keys."""


def listed(prefixes: str | Iterable[str]) -> list[str]:
    """One prefix or several. A text is one: its letters would be prefixes of half a database."""
    return [prefixes] if isinstance(prefixes, str) else list(prefixes)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStream:
    """A stream as the specification wants it."""

    collection: str
    name: str
    unit: str | None = None
    """None leaves the tag of an existing stream alone; a new stream gets "". So for the other two."""
    ingress: str | None = None
    distiller: str | None = None
    annotations: Annotations = ()
    uuid: UUID | None = None
    """Without one the stream is known by its collection and name, and created with a derived uuid."""
    generation: int = 0
    """Counts up when a stream was obliterated and is to be there again: BTrDB takes no uuid twice."""
    moved_from: Path | None = None
    """Where the stream was before: it is renamed and keeps its uuid."""
    owns: tuple[str, ...] = ()
    """Annotation keys that are removed where the specification does not have them; "*" stands for all."""
    ignore_changes: tuple[str, ...] = ()
    """Tags, and annotations as `annotations.KEY`, that count when the stream is created and never again."""
    prevent_destroy: bool = False
    """No stream of this collection is destroyed, whether or not the specification still has it."""
    place: int = field(default=0, compare=False)
    """The line of a table, the number of a row, or the index of an entry."""

    @property
    def path(self) -> Path:
        """Collection and name."""
        return self.collection, self.name

    def new_uuid(self, namespace: UUID) -> UUID:
        """The uuid that the stream gets if it has to be created."""
        if self.uuid is not None:
            return self.uuid
        return derived_uuid(self.collection, self.name, generation=self.generation, namespace=namespace)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """All streams that should be there, in the order of their file."""

    streams: tuple[WantedStream, ...]
    prefixes: tuple[str, ...] = ()
    """Collection prefixes that are managed: streams there which the specification lacks are unmanaged, and destroyed
    with `prune`."""
    namespace: UUID = DEFAULT_NAMESPACE
    source: str = field(default="spec", compare=False)
    """The file, for messages."""
    unnamed: int = field(default=0, compare=False)
    """Streams that `import_spec` has seen and left out, because they have no name."""

    @property
    def scope(self) -> Scope:
        """Where to look for what exists."""
        collections = {stream.collection for stream in self.streams}
        collections |= {stream.moved_from[0] for stream in self.streams if stream.moved_from is not None}
        return Scope.of(self.prefixes, collections)


class SpecError(DocumentError):
    """A specification cannot be used; `faults` has every reason, in the order of their lines."""

    what = "specification"
