"""docs/migrating.md, row by row: what the official client gives, what ours gives, and whether they are as it says.

Every row runs twice, in the official client and in ours, each over streams of its own that are prepared alike. The
document explains to its readers how a row is to be read; here is the same in code.
"""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import math
import re
import subprocess
import sys
import textwrap
import uuid as uuidlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from airflow_provider_btrdb.client import BTrDB, ConnectionConfig, Points, Stream, StreamSet, connect
from airflow_provider_btrdb.client.errors import BadValueError
from airflow_provider_btrdb.client.models import Point, Window, Windows

btrdb = pytest.importorskip("btrdb", reason="needs the official client")
pa = pytest.importorskip("pyarrow", reason="needs pyarrow")
pd = pytest.importorskip("pandas", reason="needs pandas")
pl = pytest.importorskip("polars", reason="needs polars")

from btrdb import conn, exceptions, point  # noqa: E402
from btrdb import stream as streams_module  # noqa: E402
from btrdb.utils import conversion, general, timez  # noqa: E402

DOCUMENT = Path(__file__).parents[2] / "docs" / "migrating.md"
SECOND = 1_000_000_000
HEADER = "| call | there | here | result |"


# ---------------------------------------------------------------- reading the document


@dataclass(frozen=True)
class Row:
    line: int
    call: str
    there: str
    here: str
    result: str


@dataclass
class Guide:
    """What the document holds: its rows, and the imports that its expressions need."""

    rows: list[Row] = field(default_factory=list)
    imports: dict[str, str] = field(default_factory=dict)


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def read_guide(text: str) -> Guide:
    guide = Guide()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        guide.imports[block.split("\n", 1)[0].removeprefix("# ")] = block
    in_table = False
    for number, line in enumerate(text.splitlines(), start=1):
        in_table = line == HEADER or (in_table and line.startswith("|"))
        if not in_table or line == HEADER or line.startswith("|---"):
            continue
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        assert len(cells) == 4, f"line {number} has {len(cells)} cells"
        call, there, here, result = cells
        guide.rows.append(Row(number, spans(call)[0], there, here, result))
    return guide


GUIDE = read_guide(DOCUMENT.read_text(encoding="utf-8"))


# ---------------------------------------------------------------- running a cell


def run(code: list[str], names: dict[str, object]) -> object:
    """The value of the last piece of code; the ones before it run first."""
    value: object = None
    for piece in code:
        if isinstance(ast.parse(piece).body[-1], ast.Expr):
            value = eval(piece, names)
            if isinstance(value, Iterator):
                value = list(value)
        else:
            exec(piece, names)
            value = None
    return value


@dataclass
class Side:
    """One client with the streams prepared for it; what stands for the same thing on both sides has one name."""

    names: dict[str, object]
    alike: dict[str, str]

    def outcome(self, cell: str) -> tuple[object, BaseException | None]:
        """The normal form of a cell's value, or the error that it raised."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the official client warns of itself
            try:
                return self.normal(run(spans(cell), self.names)), None
            except Exception as error:
                return None, error

    def normal(self, value: object) -> object:
        """Plain lists, dictionaries, numbers and texts, so that equal means equal in value."""
        for kinds, convert in _NORMAL:
            if isinstance(value, kinds):
                return convert(self, value)
        return value

    def text(self, value: str) -> str:
        for own, common in self.alike.items():
            value = value.replace(own, common)
        return value

    def mapping(self, value: Mapping[object, object]) -> object:
        return {self.normal(key): self.normal(item) for key, item in value.items()}

    def items(self, value: object) -> object:
        return [self.normal(item) for item in value]

    def pair(self, value: tuple[object, ...]) -> object:
        """The official client puts the version beside each point."""
        kinds = point.RawPoint | point.StatPoint
        if len(value) == 2 and isinstance(value[0], kinds) and isinstance(value[1], int):
            return self.normal(value[0])
        return self.items(value)

    def point(self, value: object) -> object:
        return [value.time, value.value]

    def window(self, value: object) -> object:
        return [value.time, value.min, value.mean, value.max, value.count, value.stddev]

    def stream(self, value: object) -> object:
        return "stream " + self.text(str(value.uuid))

    def arrow(self, value: object) -> object:
        columns = {}
        for name in value.column_names:
            column = value[name]
            columns[name] = column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
        return self.mapping({name: column.to_pylist() for name, column in columns.items()})

    def frame(self, value: object) -> object:
        index = {"time": _times(value.index)}
        return self.mapping({**index, **{name: value[name].tolist() for name in value.columns}})

    def series(self, value: object) -> object:
        return self.items(zip(_times(value.index), value.tolist(), strict=True))

    def polars(self, value: object) -> object:
        return self.arrow(value.to_arrow())

    def number(self, value: float) -> object:
        return None if math.isnan(value) else value


def _times(index: object) -> list[object]:
    if isinstance(index.dtype, pd.ArrowDtype):
        return index.astype("int64").tolist()
    is_time = isinstance(index, pd.DatetimeIndex)
    return index.as_unit("ns").astype("int64").tolist() if is_time else index.tolist()


_NORMAL = (
    (str, Side.text),
    (uuidlib.UUID, lambda side, value: side.text(str(value))),
    (dt.datetime, lambda _, value: pd.Timestamp(value).value),
    (type(pd.NA), lambda _, value: None),
    (float, Side.number),
    (np.generic, lambda side, value: side.normal(value.item())),
    ((streams_module.Stream, Stream), Side.stream),
    ((point.RawPoint, Point), Side.point),
    ((point.StatPoint, Window), Side.window),
    ((streams_module.StreamSet, StreamSet, Points, Windows), Side.items),
    (general.pointwidth, lambda _, value: int(value)),
    (Mapping, Side.mapping),
    (tuple, Side.pair),
    (list, Side.items),
    (np.ndarray, Side.items),
    (pa.Table, Side.arrow),
    (pd.DataFrame, Side.frame),
    (pd.Series, Side.series),
    (pl.DataFrame, Side.polars),
)


# ---------------------------------------------------------------- two clients over streams prepared alike


@pytest.fixture(scope="module")
def official(target):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        db = btrdb.connect(target.endpoint, apikey=target.api_key)
    yield db
    db._executor.shutdown()


@pytest.fixture(scope="module")
def ours(target):
    with connect(target.endpoint, target.api_key) as db:
        yield db


@pytest.fixture
def sides(target, official, ours, tmp_path, monkeypatch):
    credentials = tmp_path / ".predictivegrid" / "credentials.yaml"
    credentials.parent.mkdir()
    entry = {"endpoints": target.endpoint, **({"api_key": target.api_key} if target.api_key else {})}
    lines = [f'    {key}: "{value}"\n' for key, value in entry.items()]
    credentials.write_text("lab:\n  btrdb:\n" + "".join(lines), encoding="utf-8")
    monkeypatch.setattr("btrdb.utils.credentials.CREDENTIALS_PATH", str(credentials))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("BTRDB_ENDPOINTS", "BTRDB_API_KEY", "BTRDB_PROFILE"):
        monkeypatch.setenv(name, "")  # so that what a row sets is undone after it
        monkeypatch.delenv(name)
    given = {"endpoint": target.endpoint, "api_key": target.api_key, "folder": tmp_path}
    return prepared(ours, official, "there", given), prepared(ours, ours, "here", given)


def prepared(maker, db, side: str, given: dict[str, object]) -> Side:
    """The names that the document promises, over new streams."""
    collection = f"contract-test/{uuidlib.uuid4()}"
    t0 = 1_600_000_000 * SECOND
    contents = {
        "frequency": ("Hz", [(t0 + i * SECOND, 50.0 + i) for i in range(10)]),
        "voltage": ("V", [(t0 + 2 * i * SECOND, 230.0 + i) for i in range(5)]),
        "empty": ("", []),
    }
    uuids = {name: uuidlib.uuid4() for name in contents}
    common = {"collection": collection, "annotations": {"site": "north"}}
    specs = [{**common, "uuid": uuids[name], "name": name, "unit": unit} for name, (unit, _) in contents.items()]
    done = maker.create_many(specs)
    done += maker.insert_many([(uuids[name], points) for name, (_, points) in contents.items() if points])
    assert not any(one.error for one in done)
    new_uuid = uuidlib.uuid4()
    names: dict[str, object] = {}
    for title in (side, "both"):
        exec(GUIDE.imports[title], names)
    handles = {name: db.stream_from_uuid(uuid) for name, uuid in uuids.items()}
    for handle in handles.values():
        handle.refresh() if side == "here" else handle.refresh_metadata()
    names |= {
        **given,
        "db": db,
        "collection": collection,
        "uuid": uuids["frequency"],
        "new_uuid": new_uuid,
        "stream": handles["frequency"],
        "empty": handles["empty"],
        "streams": db.streams(uuids["frequency"], uuids["voltage"]),
        "t0": t0,
        "t1": t0 + 10 * SECOND,
        "SECOND": SECOND,
    }
    alike = {str(uuid): f"<uuid of {name}>" for name, uuid in [*uuids.items(), ("new", new_uuid)]}
    return Side(names, {**alike, collection: "<collection>"})


# ---------------------------------------------------------------- the rows


def expected(row: Row, word: str) -> list[str]:
    """The code before `there` or `here` in a result such as "`1` there, `2` here"."""
    return re.findall(rf"`([^`]+)` {word}\b", row.result.split(";")[0])


def check_side(side: Side, row: Row, word: str) -> object:
    cell = row.there if word == "there" else row.here
    assert spans(cell), f"line {row.line}: there is nothing to run {word}"
    if cell.startswith("no "):
        for name in spans(cell):
            _, error = side.outcome(f"`{name}`")
            absent = isinstance(error, AttributeError) or "unexpected keyword" in str(error)
            assert absent, f"line {row.line}, {word}: {name} exists: {error!r}"
        return None
    value, error = side.outcome(cell)
    claims = expected(row, word)
    if not claims:
        assert error is None, f"line {row.line}, {word}: {error!r}"
        return value
    claim = run(claims, side.names)
    if isinstance(claim, type) and issubclass(claim, BaseException):
        assert isinstance(error, claim), f"line {row.line}, {word}: {value!r}, {error!r}"
        assert type(error) is claim or claim.__subclasses__(), f"line {row.line}: it is a {type(error)}"
    else:
        assert error is None, f"line {row.line}, {word}: {error!r}"
        assert value == side.normal(claim), f"line {row.line}, {word}"
    return value


@pytest.mark.parametrize("row", GUIDE.rows, ids=lambda row: f"{row.line}-{row.call}")
def test_row(row, sides):
    there, here = sides
    results = check_side(there, row, "there"), check_side(here, row, "here")
    if row.result.startswith("same"):
        assert not row.there.startswith("no ")
        assert not row.here.startswith("no ")
        assert results[0] == results[1]
        return
    absent = [cell for cell in (row.there, row.here) if cell.startswith("no ")]
    claims = [expected(row, "there"), expected(row, "here")]
    assert absent or all(claims), f"line {row.line} says neither what is the same nor what each side gives"


# ---------------------------------------------------------------- nothing is left out


def public(module: object) -> set[str]:
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and (getattr(value, "__module__", None) or module.__name__).startswith("btrdb")
    }


def defined(module: object) -> set[str]:
    return {name for name in public(module) if getattr(vars(module)[name], "__module__", None) == module.__name__}


def members(instance: object) -> set[str]:
    """Public attributes, methods, and the operators that the class itself defines."""
    found = {name for name in dir(instance) if not name.startswith("_")}
    operators = {"__getitem__", "__contains__", "__len__"}
    return found | {name for cls in type(instance).__mro__[:-1] for name in vars(cls) if name in operators}


def documented(prefix: str) -> set[str]:
    return {row.call.removeprefix(prefix) for row in GUIDE.rows if row.call.startswith(prefix)}


def test_every_public_name_of_the_official_client_has_a_row(sides):
    there = sides[0].names
    assert public(btrdb) <= documented("btrdb.")
    for prefix, instance in {
        "BTrDB.": there["db"],
        "Stream.": there["stream"],
        "StreamSet.": there["streams"],
        "RawPoint.": point.RawPoint(1, 1.0),
        "StatPoint.": point.StatPoint(1, 1.0, 1.0, 1.0, 1, 0.0),
        "pointwidth.": general.pointwidth(1),
    }.items():
        assert members(instance) <= documented(prefix)
    calls = {row.call for row in GUIDE.rows}
    assert {name for name in defined(exceptions) if inspect.isclass(getattr(exceptions, name))} <= calls
    for module in (timez, general, conversion):
        assert defined(module) <= calls


def test_every_call_below_the_official_classes_has_a_row():
    used = set()
    for module in (conn, streams_module):
        used |= set(re.findall(r"\bep\.(\w+)", inspect.getsource(module)))
    assert members(btrdb.Endpoint) - used <= documented("Endpoint.") | {"stub"}


def test_every_row_is_about_its_call():
    for row in GUIDE.rows:
        name = row.call.rpartition(".")[2]
        if row.there.startswith("no ") or name.startswith("__") or name in vars(exceptions):
            continue
        words = re.findall(r"\w+", " ".join(spans(row.there)))
        assert name in words, f"line {row.line}: {row.call} is not used in {row.there}"


# ---------------------------------------------------------------- what is said beside the tables


def test_importing_changes_nothing():
    program = textwrap.dedent(
        """
        import logging, sys, warnings
        warnings.simplefilter("error")
        before = (list(logging.root.handlers), logging.root.level)
        import airflow_provider_btrdb.client
        assert (logging.root.handlers, logging.root.level) == before
        assert not {"pandas", "pyarrow", "polars", "airflow"} & set(sys.modules)
        """
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_all_points_are_checked_before_the_first_is_sent(ours):
    stream = ours.create(uuidlib.uuid4(), f"contract-test/{uuidlib.uuid4()}", {"name": "checked"})
    before = stream.version()
    with pytest.raises(BadValueError):
        stream.insert([(time, 1.0) for time in range(60_000)] + [(60_000, math.nan)])
    assert stream.version() == before


def test_handles_show_and_compare_without_the_server():
    uuid = uuidlib.uuid4()
    with BTrDB(ConnectionConfig(endpoint="127.0.0.1:1")) as unreachable:
        handle = unreachable.stream_from_uuid(uuid)
        assert str(uuid) in repr(handle)
        assert handle == unreachable.stream_from_uuid(str(uuid))
