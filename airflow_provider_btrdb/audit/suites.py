"""What is to be checked, as values: a suite after its file was read and found right. Makes no calls.

`reading.parse_suite` makes these of YAML and JSON. A check is a rule (one of the classes of `Rule`), the streams that
it looks at, and what its failures amount to.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal, TypeAlias

from airflow_provider_btrdb.audit.results import Severity, Unit
from airflow_provider_btrdb.audit.selectors import Selector
from airflow_provider_btrdb.audit.thresholds import ANY, Threshold
from airflow_provider_btrdb.documents.faults import DocumentError

# ---------------------------------------------------------------- rules of metadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Required:
    """Each field has text that is not empty."""

    kind: ClassVar[str] = "required"
    unit: ClassVar[Unit] = "streams"
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """A field that a stream has is one of these texts."""

    kind: ClassVar[str] = "allowed"
    unit: ClassVar[Unit] = "streams"
    values: tuple[tuple[str, tuple[str, ...]], ...]
    """Pairs of a field and its texts."""

    @property
    def fields(self) -> tuple[str, ...]:
        """See the other rules."""
        return tuple(field for field, _ in self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """`re.search` finds the pattern in a field that a stream has."""

    kind: ClassVar[str] = "matches"
    unit: ClassVar[Unit] = "streams"
    patterns: tuple[tuple[str, str], ...]
    """Pairs of a field and a regular expression."""

    @property
    def fields(self) -> tuple[str, ...]:
        """See the other rules."""
        return tuple(field for field, _ in self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unique:
    """No two streams have the same in all of these fields; streams that have nothing in one of them do not count."""

    kind: ClassVar[str] = "unique"
    unit: ClassVar[Unit] = "keys"
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consistent:
    """Streams that are equal in `by` are equal in `field`; streams that have nothing in one of them do not count."""

    kind: ClassVar[str] = "consistent"
    unit: ClassVar[Unit] = "groups"
    field: str
    by: tuple[str, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """See the other rules."""
        return (self.field, *self.by)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefersTo:
    """A field that a stream has is the uuid of a stream that is there, wherever it is."""

    kind: ClassVar[str] = "refers_to"
    unit: ClassVar[Unit] = "streams"
    field: str

    @property
    def fields(self) -> tuple[str, ...]:
        """See the other rules."""
        return (self.field,)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountBetween:
    """Every selected collection has so many streams that meet the conditions, which can be none of its streams."""

    kind: ClassVar[str] = "count_between"
    unit: ClassVar[Unit] = "collections"
    fields: ClassVar[tuple[str, ...]] = ("collection",)
    least: int = 0
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sql:
    """The rows of a query are the failures."""

    kind: ClassVar[str] = "sql"
    unit: ClassVar[Unit] = "rows"
    fields: ClassVar[tuple[str, ...]] = ()
    query: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RareKeys:
    """No annotation key is used by less than this share of the streams: such keys are mostly misspelt."""

    kind: ClassVar[str] = "rare_keys"
    unit: ClassVar[Unit] = "keys"
    fields: ClassVar[tuple[str, ...]] = ()
    below: float
    """Percent of the streams."""


# ---------------------------------------------------------------- rules of points


class _OfPoints:
    """What they have alike."""

    __slots__ = ()
    unit: ClassVar[Unit] = "streams"
    fields: ClassVar[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Fresh(_OfPoints):
    """The newest point that is not in the future is at most so old."""

    kind: ClassVar[str] = "fresh"
    within_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotEmpty(_OfPoints):
    """There is a point, with `last_ns` one of that time."""

    kind: ClassVar[str] = "not_empty"
    last_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Complete(_OfPoints):
    """As many points as the rate makes expect."""

    kind: ClassVar[str] = "complete"
    rate: float
    """Points in a second."""
    last_ns: int
    warn_below: float | None = None
    """Percent; one of the two is given, and `error_below` is the smaller one."""
    error_below: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InRange(_OfPoints):
    """All values of a time lie between these."""

    kind: ClassVar[str] = "in_range"
    least: float | None = None
    most: float | None = None
    last_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NotInFuture(_OfPoints):
    """No point is later than now and a tolerance."""

    kind: ClassVar[str] = "not_in_future"
    tolerance_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flatline(_OfPoints):
    """The value does not stay the same for so long."""

    kind: ClassVar[str] = "flatline"
    longer_than_ns: int
    last_ns: int


RowRule: TypeAlias = Required | Allowed | Matches
"""Those that look at one stream at a time."""
MetadataRule: TypeAlias = RowRule | Unique | Consistent | RefersTo | CountBetween | Sql | RareKeys
PointRule: TypeAlias = Fresh | NotEmpty | Complete | InRange | NotInFuture | Flatline
Rule: TypeAlias = MetadataRule | PointRule


# ---------------------------------------------------------------- checks and suites


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule, whom it concerns, and what it amounts to."""

    name: str
    """Unique within the suite."""
    rule: Rule
    selector: Selector = field(default_factory=Selector)
    """The streams: those of the suite, narrowed by the check's own `select` and `where`."""
    severity: Severity = "error"
    warn_if: Threshold = ANY
    error_if: Threshold = ANY
    """Counts for severity `error` only. See `judging.judge`."""
    sample: int = 20
    """How many failures a result shows."""
    owner: str = ""
    description: str = ""

    @property
    def kind(self) -> str:
        """The rule's name in the file."""
        return self.rule.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Checks that are made together, in the order of their file."""

    name: str
    checks: tuple[Check, ...]
    selector: Selector = field(default_factory=Selector)
    """What coverage counts, and what every check is narrowed from."""
    description: str = ""
    expect_streams: int | None = None
    """Seeing fewer is an error."""
    expect_collections: int | None = None
    allow_drop: Threshold | None = None
    """How much less than in the last run may be seen; None: nothing."""
    without_sql: Literal["error", "skip"] = "skip"
    """What becomes of checks with SQL of the user's own where the server answers no SQL."""
    source: str = field(default="suite", compare=False)
    """The file, for messages."""


class SuiteError(DocumentError):
    """A suite cannot be used; `faults` has every reason, in the order of their lines."""

    what = "suite"
