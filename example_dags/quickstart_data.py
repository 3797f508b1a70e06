"""The example data as plain values: streams to create, weather files to load, faults that an audit must find.

Knows neither Airflow nor BTrDB. Every function takes the data folder (see README.md in it) and reads it when called;
importing reads nothing. A file that cannot be opened raises OSError. A file with wrong content raises ValueError: one
sentence that names the file, the row (the first is row 1), the column and what is known there.
"""

from __future__ import annotations

import csv
import uuid
from collections.abc import Iterable
from itertools import islice
from math import isfinite
from pathlib import Path
from typing import Any

TABLES = {
    "weather/columns.csv": ("column", "name", "unit", "description"),
    "ieee118/buses.csv": ("bus", "base_kv"),
    "ieee118/channels.csv": ("name", "unit", "phase", "description"),
    "ieee118/faults.csv": ("fault", "bus", "channel", "value", "uuid"),
}
FAULTS = ("misspelt_unit", "missing_annotation", "duplicate_name")
PHASOR_ANNOTATIONS = ("bus", "base_kv", "phase", "description")
"""The annotation keys that every clean phasor stream has."""
STATION = ("station", "station_name", "state", "utc_offset_hours", "latitude", "longitude", "elevation_m")
"""What the cells of a weather file's first line mean."""
TIME_COLUMNS = ("Date (MM/DD/YYYY)", "Time (HH:MM)")
MISSING = "-9900"
"""The cell text that stands for a missing value, which is not a point."""


def weather_streams(data: Path) -> list[dict[str, Any]]:
    """Rows for CreateStreamOperator: one per station and value column."""
    columns = _table(data, "weather/columns.csv")
    return [
        {
            "collection": f"weather/tmy3/{station['station']}",
            "name": column["name"],
            "unit": column["unit"],
            "ingress": "tmy3",
            "annotations": station
            | {"time_label": "end of hour", "tmy3_column": column["column"], "description": column["description"]},
        }
        for _, station in _stations(data)
        for _, column in columns
    ]


def weather_files(data: Path) -> list[dict[str, Any]]:
    """What to load: per file its path, station, collection, UTC offset in hours, and TMY3 column -> stream name."""
    names = {column["column"]: column["name"] for _, column in _table(data, "weather/columns.csv")}
    return [
        {
            "path": str(path),
            "station": station["station"],
            "collection": f"weather/tmy3/{station['station']}",
            "utc_offset_hours": float(station["utc_offset_hours"]),
            "columns": dict(names),
        }
        for path, station in _stations(data)
    ]


def phasor_streams(data: Path) -> list[dict[str, Any]]:
    """Rows for CreateStreamOperator: 118 buses x 13 channels with the faults applied, then the planted extra row."""
    faults = {(fault["collection"], fault["name"]): fault for fault in planted_faults(data)}
    rows, extras = _clean_phasor_streams(data), []
    for row in rows:
        fault = faults.get((row["collection"], row["name"]))
        if fault is None:
            continue
        if fault["fault"] == "misspelt_unit":
            row["unit"] = fault["value"]
        elif fault["fault"] == "missing_annotation":
            del row["annotations"][fault["value"]]
        else:
            extras.append(row | {"unit": fault["value"], "uuid": fault["uuid"], "annotations": {**row["annotations"]}})
    return rows + extras


def planted_faults(data: Path) -> list[dict[str, Any]]:
    """What an audit of `phasor_streams` must find.

    Each has fault, collection, name, value (the wrong unit, the annotation key left out, the extra row's unit), clean
    (what a clean row has there: a unit or an annotation) and uuid (of the extra row; None for other faults).
    """
    clean = {(row["annotations"]["bus"], row["name"]): row for row in _clean_phasor_streams(data)}
    path, found = data / "ieee118/faults.csv", []
    for number, fault in _table(data, "ieee118/faults.csv", key=("bus", "channel"), optional="uuid"):
        _check(path, number, "fault", fault["fault"], FAULTS)
        _check(path, number, "bus", fault["bus"], dict.fromkeys(bus for bus, _ in clean))
        _check(path, number, "channel", fault["channel"], dict.fromkeys(name for _, name in clean))
        row = clean[fault["bus"], fault["channel"]]
        right = row["unit"]
        if fault["fault"] == "missing_annotation":
            _check(path, number, "value", fault["value"], PHASOR_ANNOTATIONS)
            right = row["annotations"][fault["value"]]
        elif fault["value"] == right:
            raise ValueError(f"{path}, row {number}: the value {fault['value']!r} is the right unit, so it is no fault")
        if (fault["fault"] == "duplicate_name") != bool(fault["uuid"]):
            raise ValueError(f"{path}, row {number}: column 'uuid' is for duplicate_name, and only for it")
        found.append(
            {
                "fault": fault["fault"],
                "collection": row["collection"],
                "name": row["name"],
                "value": fault["value"],
                "clean": right,
                "uuid": _uuid(path, number, fault["uuid"]) if fault["uuid"] else None,
            }
        )
    return found


def allowed_units(data: Path) -> list[str]:
    """The units that a clean stream of the example may have, sorted."""
    files = ("weather/columns.csv", "ieee118/channels.csv")
    return sorted({row["unit"] for file in files for _, row in _table(data, file)})


def _clean_phasor_streams(data: Path) -> list[dict[str, Any]]:
    path, channels, rows = data / "ieee118/buses.csv", _table(data, "ieee118/channels.csv"), []
    for number, bus in _table(data, "ieee118/buses.csv"):
        if not bus["bus"].isdecimal() or bus["bus"] != str(int(bus["bus"])):
            raise ValueError(
                f"{path}, row {number}: column 'bus' has {bus['bus']!r}, which is not a plain whole number"
            )
        _number(path, number, "base_kv", bus["base_kv"])
        rows += [
            {
                "collection": f"grid/ieee118/bus{int(bus['bus']):03d}",
                "name": channel["name"],
                "unit": channel["unit"],
                "annotations": bus | {"phase": channel["phase"], "description": channel["description"]},
            }
            for _, channel in channels
        ]
    return rows


def _stations(data: Path) -> list[tuple[Path, dict[str, str]]]:
    """Each weather file with its station line as text; its column line must be that of columns.csv."""
    known = TIME_COLUMNS + tuple(column["column"] for _, column in _table(data, "weather/columns.csv"))
    stations = []
    for path in sorted((data / "weather").glob("*.csv")):
        if path.name == "columns.csv":
            continue
        lines: list[list[str]] = [*_rows(path, limit=2), [], []]
        cells, names = lines[:2]
        if len(cells) != len(STATION):
            raise ValueError(f"{path}, row 1: {len(cells)} cells where the columns are {', '.join(STATION)}")
        _check_header(path, 2, names, known)
        station = dict(zip(STATION, cells, strict=True))
        for column in STATION[3:]:
            _number(path, 1, column, station[column])
        stations.append((path, station))
    if not stations:
        raise FileNotFoundError(f"{data / 'weather'}: no weather file (*.csv beside columns.csv)")
    return stations


def _table(data: Path, file: str, *, key: tuple[str, ...] = (), optional: str = "") -> list[tuple[int, dict[str, str]]]:
    """Rows of one of TABLES with their row numbers; no two rows have the same key (the first column by default)."""
    path, known = data / file, TABLES[file]
    header, *rows = _rows(path) or [[]]
    _check_header(path, 1, header, known)
    table: list[tuple[int, dict[str, str]]] = []
    seen: dict[tuple[str, ...], int] = {}
    for number, cells in enumerate(rows, start=2):
        if not cells:
            continue
        if len(cells) > len(header):
            extra = cells[len(header)]
            raise ValueError(f"{path}, row {number}: unknown column with {extra!r}; the columns are {', '.join(known)}")
        row = dict(zip(header, cells, strict=False))
        for column in known:
            if not row.get(column) and column != optional:
                raise ValueError(
                    f"{path}, row {number}: column {column!r} is empty; the columns are {', '.join(known)}"
                )
        first = seen.setdefault(tuple(row[column] for column in key or known[:1]), number)
        if first != number:
            raise ValueError(f"{path}, row {number}: column {' and '.join(key or known[:1])!r} repeats row {first}")
        table.append((number, {column: row.get(column, "") for column in known}))
    return table


def _rows(path: Path, limit: int | None = None) -> list[list[str]]:
    """Cells of a CSV file in UTF-8 (a byte order mark is allowed)."""
    rows: list[list[str]] = []
    with path.open("rb") as file:
        lines = (line.decode("utf-8-sig") for line in file)
        try:
            rows.extend(islice(csv.reader(lines, strict=True), limit))
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path}, row {len(rows) + 1}: this is not CSV in UTF-8 ({error})") from error
    return rows


def _check_header(path: Path, number: int, header: list[str], known: tuple[str, ...]) -> None:
    for column in [*header, *known]:
        if column not in known or header.count(column) != 1:
            problem = "unknown" if column not in known else "repeated" if column in header else "missing"
            raise ValueError(f"{path}, row {number}: {problem} column {column!r}; the columns are {', '.join(known)}")


def _check(path: Path, number: int, column: str, value: str, known: Iterable[str]) -> None:
    known = list(known)
    if value not in known:
        raise ValueError(f"{path}, row {number}: unknown {column} {value!r}; known are {', '.join(known)}")


def _number(path: Path, number: int, column: str, value: str) -> None:
    try:
        good = isfinite(float(value))
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{path}, row {number}: column {column!r} has {value!r}, which is not a number")


def _uuid(path: Path, number: int, value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError as error:
        raise ValueError(f"{path}, row {number}: column 'uuid' has {value!r}, which is not a uuid") from error
