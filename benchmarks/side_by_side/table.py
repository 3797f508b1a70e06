"""What is measured beside what, how far it is meant to reach, and the table that is made of the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from sampling.prose import Samples, circumstances, reasons, row, too_few

LINEAR = 12.0
"""Ten times the work may take so many times the CPU: ten, and the noise of two medians."""
FLAT_MB = 4.0
"""Ten times the work may hold so much more memory: what the allocator and gRPC's buffers vary by."""


@dataclass(frozen=True, slots=True)
class Case:
    """Something to sample: a piece of work of `side`, its size, with an API key or not, and where it runs."""

    side: Literal["ours", "peer", "floor"]
    name: str
    size: int
    key: bool = False
    server: Literal["recorded", "devserver"] = "recorded"

    @property
    def id(self) -> str:
        """Its name in the file of samples."""
        return f"{self.server}: {self.side} {self.name} {self.size}{' with key' if self.key else ''}"

    @property
    def words(self) -> str:
        """Its name for people."""
        return {"ours": "ours", "peer": "btrdb", "floor": "bare stub"}[self.side] + f" {self.name}"


@dataclass(frozen=True, slots=True)
class Target:
    """One line of the table: a measure of `case`, by itself or beside another."""

    row: str
    what: str
    measure: Literal["cpu", "wall", "mb"]
    case: Case
    beside: Case | None
    limit: float
    """The largest ratio that reaches, or the most MB (beside another case: the most MB above it)."""
    reach: str = ""
    """The limit in the words of the goal, where it needs them."""

    @property
    def id(self) -> str:
        """Names the line in `CAUSES`."""
        return f"{self.row}: {self.what}"


STREAMS, ROWS, POINTS = 100_000, 100_000, 1_000_000


def _case(side: Any, name: str, size: int, **options: Any) -> Case:
    return Case(side, name, size, **options)


_CREATE = 10_000
_OURS_VALUES = _case("ours", "values", POINTS)
_OURS_ARROW_VALUES = _case("ours", "arrow-values", POINTS)
_OURS_INSERT = _case("ours", "insert", POINTS)
_OURS_LOOKUP = _case("ours", "lookup", STREAMS)
_OURS_SQL = _case("ours", "sql", ROWS)
_OURS_CREATE = _case("ours", "create", _CREATE)


def _creates(row: str, words: str, key: bool, cpu: float, cpu_reach: str, wall: float) -> list[Target]:
    def case(side: str, server: str) -> Case:
        return _case(side, "create", _CREATE, key=key, server=server)

    return [
        Target(
            row, f"{words}, recorded server", "cpu", case("ours", "recorded"), case("peer", "recorded"), cpu, cpu_reach
        ),
        Target(
            row,
            f"{words}, btrdb-devserver",
            "wall",
            case("ours", "devserver"),
            case("peer", "devserver"),
            1 / wall,
            f">= {wall:g}x faster",
        ),
    ]


def _linear(name: str, size: int, items: str, *, flat: bool = True) -> list[Target]:
    small, large = _case("ours", name, size), _case("ours", name, 10 * size)
    words = f"{name}: {10 * size:,} {items} beside {size:,}"
    targets = [Target("linear", words, "cpu", large, small, LINEAR, f"about 10x (<= {LINEAR:g}x)")]
    if flat:
        targets.append(Target("linear", words, "mb", large, small, FLAT_MB, f"flat (<= {FLAT_MB:g} MB more)"))
    return targets


TARGETS: tuple[Target, ...] = (
    Target("import", "import of the client", "cpu", _case("ours", "import", 1), _case("peer", "import", 1), 0.25),
    *_creates("create-key", "create 10,000 with API key", True, 0.20, "<= 0.20x (try 0.16x)", 4),
    *_creates("create", "create 10,000 without key", False, 0.80, "", 2),
    Target(
        "lookup",
        "lookup of 100,000 streams as values, all kept",
        "cpu",
        _OURS_LOOKUP,
        _case("peer", "lookup", STREAMS),
        0.65,
    ),
    Target(
        "lookup", "the same, counted", "cpu", _case("ours", "count", STREAMS), _case("peer", "lookup", STREAMS), 0.08
    ),
    Target(
        "lookup",
        "the same, iterated",
        "cpu",
        _case("ours", "lookup-iter", STREAMS),
        _case("peer", "lookup", STREAMS),
        0.65,
    ),
    Target("lookup", "the same, iterated", "mb", _case("ours", "lookup-iter", STREAMS), None, 12),
    Target("sql", "SQL, 100,000 rows, all kept", "cpu", _OURS_SQL, _case("peer", "sql", ROWS), 0.45),
    Target("sql", "the same, iterated", "cpu", _case("ours", "sql-iter", ROWS), _case("peer", "sql", ROWS), 0.45),
    Target("sql", "the same, iterated", "mb", _case("ours", "sql-iter", ROWS), None, 12),
    Target(
        "values", "1,000,000 points to numpy beside values", "cpu", _OURS_VALUES, _case("peer", "values", POINTS), 0.04
    ),
    Target("values", "the same", "mb", _OURS_VALUES, None, 32),
    Target(
        "values",
        "1,000,000 points to numpy, pyarrow loaded, beside arrow_values",
        "cpu",
        _OURS_ARROW_VALUES,
        _case("peer", "arrow-values", POINTS),
        1.15,
    ),
    Target("values", "the same with pyarrow", "mb", _OURS_ARROW_VALUES, None, 32),
    Target(
        "insert",
        "1,000,000 points from numpy beside insert",
        "cpu",
        _OURS_INSERT,
        _case("peer", "insert", POINTS),
        0.02,
    ),
    Target("insert", "the same beside arrow_insert", "cpu", _OURS_INSERT, _case("peer", "arrow-insert", POINTS), 1.15),
    Target(
        "insert",
        "1,000,000 points from tuples beside insert",
        "cpu",
        _case("ours", "insert-tuples", POINTS),
        _case("peer", "insert", POINTS),
        0.5,
    ),
    Target("floor", "create 10,000 in bulk", "cpu", _OURS_CREATE, _case("floor", "create", _CREATE), 1.3),
    Target(
        "floor",
        "1,000,000 points read, beside Arrow",
        "cpu",
        _OURS_ARROW_VALUES,
        _case("floor", "arrow-values", POINTS),
        1.3,
    ),
    Target(
        "floor",
        "1,000,000 points inserted, beside Arrow",
        "cpu",
        _OURS_INSERT,
        _case("floor", "arrow-insert", POINTS),
        1.3,
    ),
    Target(
        "floor", "1,000,000 points read, beside RawPoints", "cpu", _OURS_VALUES, _case("floor", "values", POINTS), 2
    ),
    Target("floor", "SQL, 100,000 rows", "cpu", _OURS_SQL, _case("floor", "sql", ROWS), 2),
    Target("floor", "lookup of 100,000 streams as values", "cpu", _OURS_LOOKUP, _case("floor", "lookup", STREAMS), 2),
    *_linear("create", 1_000, "streams", flat=False),
    *_linear("lookup-iter", STREAMS, "streams"),
    *_linear("sql-iter", ROWS, "rows"),
    *_linear("values-iter", POINTS, "points"),
    *_linear("insert", POINTS, "points"),
)

IMPORT_WITHOUT_NUMPY = 0.15
"""The import's reach when numpy is loaded on first use."""

CAUSES: dict[str, str] = {
    "import: import of the client": "asyncio, grpc, protobuf and numpy alone take 0.23x, tenacity and 43 modules of "
    "ours the rest. Tried: pydantic_core on first use (0.31x, but a query holds 2 MB more then), numpy left out "
    "by hand (0.21x, where 0.15x is asked then). Where no bytecode is there, 0.24x: 331 ms beside 1,382 ms.",
    "lookup: lookup of 100,000 streams as values, all kept": "protobuf makes an object for every pair, value and text, "
    "and Python's garbage collector looks at everything that is kept again and again. The bare stub, which makes no "
    "uuid and no handle, takes 0.6x. Tried: making uuids when they are asked for, past their constructor, and asking "
    "only empty values whether they are null (both are in, 0.99x before); iterating meets the reach.",
    "sql: SQL, 100,000 rows, all kept": "the garbage collector takes a fifth of it, making 200,000 dictionaries most "
    "of the rest; the bare stub with the standard library's JSON takes more. Tried: one document a page instead of "
    "one a row (the same), the standard library (0.6x), a paused collector (0.42x, but a library must not pause it for "
    "its whole process); iterating meets the reach.",
    "values: 1,000,000 points to numpy, pyarrow loaded, beside arrow_values": "its table points into 20 pages "
    "where they lie; ours checks the order and copies them into one column of each kind. Tried: copying out of the "
    "page as it came over the wire (0.96x of what it takes now, but pages of `values_iter` would not be aligned), "
    "keeping all pages and joining them at the end (no faster, and 37 MB).",
}
"""Why a line misses its reach, by the id of the target. A miss without a cause does not pass the checker."""


def cases(targets: Sequence[Target]) -> list[Case]:
    """Everything that these lines need, each once."""
    found = [case for target in targets for case in (target.case, target.beside) if case is not None]
    return list(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Line:
    """A line as measured."""

    target: Target
    ours: str
    beside: str
    measured: str
    reach: str
    met: bool


def line(target: Target, samples: Samples) -> Line:
    """The medians of both sides and what they amount to."""
    mine, other = _measured(target.case, target, samples), None
    limit, reach = target.limit, target.reach
    if target.row == "import" and not samples[target.case.id][0]["numpy"]:
        limit = IMPORT_WITHOUT_NUMPY
    if target.beside is None:
        value, measured = mine[0], f"{mine[0]:.1f} MB"
        reach = reach or f"<= {limit:g} MB"
    else:
        other = _measured(target.beside, target, samples)
        if target.measure == "mb":
            value = mine[0] - other[0]
            measured = f"{value:+.1f} MB"
        else:
            value = mine[0] / other[0]
            measured = f"{1 / value:.1f}x faster" if target.measure == "wall" else f"{value:.3g}x"
        reach = reach or f"<= {limit:.2f}x"
    return Line(
        target,
        _shown(target.measure, mine),
        "" if other is None else _shown(target.measure, other),
        measured,
        reach,
        value <= limit,
    )


def _measured(case: Case, target: Target, samples: Samples) -> tuple[float, float, float]:
    values = [sample[target.measure] for sample in samples[case.id]]
    return median(values), min(values), max(values)


def _shown(measure: str, values: tuple[float, float, float]) -> str:
    unit, factor = ("MB", 1.0) if measure == "mb" else ("ms", 1000.0)
    middle, least, most = (_number(value * factor) for value in values)
    return f"{middle} {unit} ({least} to {most})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"


def faults(samples: Samples, targets: Sequence[Target] = TARGETS) -> list[str]:
    """Reasons why these samples do not make a table; none if they do."""
    found = []
    for case in cases(targets):
        taken = samples.get(case.id, ())
        if missing := too_few(case.id, taken):
            found.append(missing)
        if any(sample["compared"] != case.size for sample in taken):
            found.append(f"{case.id}: not everything was compared")
    if not found:
        lines = (line(target, samples) for target in targets)
        found += [
            f"{item.target.id}: misses its reach and CAUSES names no cause"
            for item in lines
            if not item.met and item.target.id not in CAUSES
        ]
    return found


_MEASURES = {"cpu": "CPU", "wall": "wall", "mb": "memory"}


def as_text(samples: Samples, targets: Sequence[Target] = TARGETS) -> str:
    """Lines for a terminal."""
    return "\n".join(
        f"{item.target.row:11} {item.target.what:52} {_MEASURES[item.target.measure]:6} {item.measured:>13}  "
        f"{item.reach:24} {'met' if item.met else 'MISSED':6} {item.ours}{' : ' + item.beside if item.beside else ''}"
        for item in (line(target, samples) for target in targets)
    )


def as_markdown(results: Mapping[str, Any]) -> str:
    """The part of docs/benchmarks.md that is made of the file of samples."""
    samples = results["samples"]
    lines = [line(target, samples) for target in TARGETS]
    met = sum(item.met for item in lines)
    text = [
        f"{met} of {len(lines)} lines reach what they are meant to. {results['runs']} fresh processes for each sample, "
        f"{circumstances(results)}",
        "",
        "| work | measure | ours | beside | measured | reach | |",
        "|---|---|---|---|---|---|---|",
    ]
    for item in lines:
        target = item.target
        beside = f"{target.beside.words}: {item.beside}" if target.beside else ""
        verdict = "met" if item.met else "MISSED"
        what = f"{target.row}: {target.what}"
        text.append(row((what, _MEASURES[target.measure], item.ours, beside, item.measured, item.reach, verdict)))
    missed = [item.target for item in lines if not item.met]
    causes = {f"{target.id} ({_MEASURES[target.measure]})": CAUSES[target.id] for target in missed}
    return "\n".join(text + reasons("Why lines miss:", causes))
