"""A plan as values: what differs between a specification and the database, and what would be done about it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple
from uuid import UUID

from airflow_provider_btrdb.catalog.snapshot import Scope

Kind = Literal["create", "update", "move", "destroy", "hidden", "ambiguous", "taken"]
Operation = Literal["add", "set", "remove"]
Verdict = Literal["empty", "changes", "destructive"]

ACTIONS: tuple[Kind, ...] = ("move", "update", "create", "destroy")
"""What `apply` does, in this order."""
PROBLEMS: tuple[Kind, ...] = ("hidden", "ambiguous", "taken")
"""What somebody has to look at first; `apply` counts them as failed."""


class Difference(NamedTuple):
    """One field of a stream: `unit`, `collection`, `name`..., or `annotations.KEY`."""

    field: str
    operation: Operation
    old: str | None
    """None is null, and for "add" no value at all."""
    new: str | None
    """None is null, and for "remove" no value at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What is to be done about one stream, or why nothing can be done."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    kind: Kind
    collection: str
    """Where the stream is to be, or is to be removed from."""
    name: str
    uuid: UUID
    property_version: int = 0
    """The version that the comparison saw: the server refuses the change if it is another one. 0: no stream yet."""
    differences: tuple[Difference, ...] = ()
    explicit: bool = False
    """The specification names the uuid, so a stream of the same name is no reason not to create this one."""
    rivals: tuple[UUID, ...] = ()
    """Of an ambiguous name: the streams that have it. Of a create: streams of that name that other rows mean."""
    ignore_changes: tuple[str, ...] = ()
    """Of a create: fields that others may change as soon as the stream is there."""
    detail: str = ""
    """A sentence about a problem."""

    @property
    def path(self) -> str:
        """`collection/name`, for people."""
        return f"{self.collection}/{self.name}"


class Unmanaged(NamedTuple):
    """A stream that the specification does not have."""

    collection: str
    name: str
    uuid: UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The difference between a specification and the database, as it was when it was made. Changes are sorted."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    format: Literal[1] = 1
    """Of the file that the plan is kept in."""
    changes: tuple[Change, ...]
    unchanged: int
    """Streams that are as the specification wants them."""
    unmanaged: int = 0
    """Streams of the scope that the specification does not have, and that stay."""
    unmanaged_first: tuple[Unmanaged, ...] = ()
    """The first of them, sorted."""
    scope: Scope = field(default_factory=Scope)
    """Where was looked."""
    shard: tuple[int, int] | None = None
    """This is part k of n: `(k, n)` with 0 <= k < n."""

    @property
    def counts(self) -> dict[str, int]:
        """How many changes of each kind; kinds without one are 0. With `unchanged` and `unmanaged`."""
        found = Counter(change.kind for change in self.changes)
        kinds: dict[str, int] = {kind: found[kind] for kind in (*ACTIONS, *PROBLEMS)}
        return {**kinds, "unchanged": self.unchanged, "unmanaged": self.unmanaged}

    @property
    def verdict(self) -> Verdict:
        """ "destructive" when a stream would be destroyed; "changes" also when there are only problems."""
        if any(change.kind == "destroy" for change in self.changes):
            return "destructive"
        return "changes" if self.changes else "empty"

    @property
    def problems(self) -> tuple[Change, ...]:
        """Changes of the kinds that `apply` cannot make."""
        return tuple(change for change in self.changes if change.kind in PROBLEMS)
