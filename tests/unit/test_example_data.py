"""The example data is what its README and expected.json say, and its reader refuses what is malformed."""

from __future__ import annotations

import calendar
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "example_dags" / "data"
WHEELS = "BTRDB_EXAMPLE_WHEELS"


def load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"_tested_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


quickstart = load(ROOT / "example_dags" / "quickstart_data.py")


def weather_lines(path: Path) -> tuple[list[str], list[list[str]]]:
    """The column names and the rows, split by hand: no cell of these lines is quoted."""
    _, names, *rows = path.read_text(encoding="ascii").split("\n")
    assert rows.pop() == ""
    assert '"' not in "".join(rows)
    return names.split(","), [row.split(",") for row in rows]


def naive_ns(date: str, time: str, offset_hours: str) -> int:
    month, day, year = map(int, date.split("/"))
    hour = int(time[:2])
    assert time[2:] == ":00"
    return (calendar.timegm((year, month, day, 0, 0, 0)) + hour * 3600 - round(float(offset_hours) * 3600)) * 10**9


# -- the files ---------------------------------------------------------------------------------------------------------


def test_checksums_list_every_file_and_match():
    listed = dict(reversed(line.split("  ")) for line in (DATA / "SHA256SUMS").read_text().splitlines())
    present = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    assert set(listed) == present
    assert {path: hashlib.sha256((DATA / path).read_bytes()).hexdigest() for path in present} == listed


def test_regeneration_is_byte_identical(tmp_path):
    folder = os.environ.get(WHEELS)
    if not folder:
        pytest.skip(f"needs {WHEELS}: the folder with the wheels of pvlib and pandapower")
    wheels = [str(next(Path(folder).glob(f"{name}-*.whl"))) for name in ("pvlib", "pandapower")]
    tool = ROOT / "tools" / "make_example_data.py"
    command = [sys.executable, str(tool), "--pvlib", wheels[0], "--pandapower", wheels[1], "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=120, stdout=subprocess.PIPE)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {path.relative_to(DATA): path.read_bytes() for path in DATA.rglob("*") if path.is_file()}
    assert made.keys() == kept.keys()
    assert [path for path in made if made[path] != kept[path]] == []


def test_the_tool_refuses_other_wheels_in_one_sentence(tmp_path, capsys):
    tool = load(ROOT / "tools" / "make_example_data.py")
    wheel = tmp_path / "pvlib-0.1-py3-none-any.whl"
    wheel.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip file
    assert tool.main(["--pvlib", str(wheel), "--pandapower", str(wheel), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "pvlib-0.1-py3-none-any.whl has no pvlib/data/703165TY.csv" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_licence_notices_are_there():
    for name, holder in (("pvlib", "Sandia National Laboratories"), ("pandapower", "University of Kassel")):
        text = (DATA / f"LICENSE.{name}.txt").read_text()
        assert text.startswith("BSD 3-Clause License")
        assert holder in text
        assert holder in " ".join((DATA / "README.md").read_text().split())


# -- weather -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "missing", "unlimited", "not_calm"), [("703165TY.csv", 2987, 2509, 5), ("723170TYA.csv", 0, 4834, 8)]
)
def test_weather_facts_of_the_readme(file, missing, unlimited, not_calm):
    names, rows = weather_lines(DATA / "weather" / file)
    column = {name: [row[index] for row in rows] for index, name in enumerate(names)}
    assert len(rows) == 8760
    assert len(names) == 2 + 11
    assert {len(row) for row in rows} == {13}
    counts = {name: Counter(column[name]) for name in names[2:]}
    assert {name: count["-9900"] for name, count in counts.items() if count["-9900"]} == (
        {"Hvis (m)": missing} if missing else {}
    )
    assert {name: count["77777"] for name, count in counts.items() if count["77777"]} == {"CeilHgt (m)": unlimited}
    for code in ("7777", "88888", "99999", ""):
        assert not any(count[code] for count in counts.values())
    numbers = {name: [float(text) for text in column[name] if text != "-9900"] for name in names[2:]}
    assert all(
        value >= 0 for name in names[2:] if name not in ("Dry-bulb (C)", "Dew-point (C)") for value in numbers[name]
    )
    wind = zip(column["Wdir (degrees)"], column["Wspd (m/s)"], strict=True)
    assert sum(float(direction) == 0 and float(speed) > 0 for direction, speed in wind) == not_calm
    readme = (DATA / "README.md").read_text()
    for fact in (f"{unlimited:,} in {file[:6]}", f"{not_calm} in {file[:6]}"):
        assert fact in readme
    if missing:
        assert f"{missing:,} cells of horizontal visibility of {file[:6]}" in readme
        assert set(column["Pressure (mbar)"]) == {"1012"}


@pytest.mark.parametrize("file", ["703165TY.csv", "723170TYA.csv"])
def test_weather_times_have_their_warts(file):
    _, rows = weather_lines(DATA / "weather" / file)
    times = [naive_ns(row[0], row[1], "0") for row in rows]
    assert len(set(times)) == len(times)
    assert times != sorted(times)
    assert Counter(row[1] for row in rows) == {f"{hour:02d}:00": 365 for hour in range(1, 25)}
    months = {(row[0][:2], row[0][6:]) for row in rows}
    assert len(months) == 12
    assert len({year for _, year in months}) > 1


def test_expected_json_recomputed():
    found = {}
    everything: list[tuple[int, Fraction]] = []
    missing = 0
    for file in quickstart.weather_files(DATA):
        header = Path(file["path"]).read_text(encoding="ascii").split("\n", 1)[0].split(",")
        names, rows = weather_lines(Path(file["path"]))
        for index, name in enumerate(names[2:], start=2):
            points = [(naive_ns(row[0], row[1], header[3]), Fraction(float(row[index]))) for row in rows]
            kept = [point for point in points if point[1] != -9900]
            missing += len(points) - len(kept)
            everything += kept
            found[f"{file['collection']}/{file['columns'][name]}"] = naive_summary(kept)
    expected = json.loads((DATA / "expected.json").read_text())
    assert expected["streams"] == found
    assert expected["totals"] == {"streams": 22, "missing": missing, **naive_summary(everything)}
    assert expected["totals"]["count"] == 2 * 11 * 8760 - 2987 == 189_733
    assert "22 streams with 189,733 points" in " ".join((DATA / "README.md").read_text().split())


def naive_summary(points: list[tuple[int, Fraction]]) -> dict[str, int | float]:
    times = sorted(time for time, _ in points)
    total = float(sum((value for _, value in points), Fraction(0)))  # exact, then rounded once
    return {"count": len(points), "first_ns": times[0], "last_ns": times[-1], "sum": total}


def test_expected_times_by_hand():
    """703165 starts on 1 July 1991 at the end of its first hour: 01:00 at UTC-9 is 10:00 UTC."""
    stream = json.loads((DATA / "expected.json").read_text())["streams"]["weather/tmy3/703165/dry_bulb"]
    assert stream["first_ns"] == calendar.timegm((1991, 7, 1, 10, 0, 0)) * 10**9
    assert stream["last_ns"] == calendar.timegm((2005, 12, 1, 9, 0, 0)) * 10**9  # 30 November 2005, 24:00


def test_weather_streams():
    rows = quickstart.weather_streams(DATA)
    assert {f"{row['collection']}/{row['name']}" for row in rows} == set(
        json.loads((DATA / "expected.json").read_text())["streams"]
    )
    assert rows[0] == {
        "collection": "weather/tmy3/703165",
        "name": "ghi",
        "unit": "W/m^2",
        "ingress": "tmy3",
        "annotations": {
            "station": "703165",
            "station_name": "SAND POINT",
            "state": "AK",
            "latitude": "55.317",
            "longitude": "-160.517",
            "elevation_m": "7",
            "utc_offset_hours": "-9.0",
            "time_label": "end of hour",
            "tmy3_column": "GHI (W/m^2)",
            "description": "global horizontal irradiance, mean of the hour",
        },
    }
    assert len({id(row["annotations"]) for row in rows}) == len(rows)
    assert all(isinstance(text, str) and text for row in rows for text in row["annotations"].values())


def test_weather_files():
    first, second = quickstart.weather_files(DATA)
    assert (first["station"], first["collection"], first["utc_offset_hours"]) == ("703165", "weather/tmy3/703165", -9.0)
    assert (second["station"], second["utc_offset_hours"]) == ("723170", -5.0)
    assert first["columns"]["CeilHgt (m)"] == "ceiling_height"
    assert json.loads(json.dumps([first, second])) == [first, second]


# -- phasor catalogue --------------------------------------------------------------------------------------------------


def test_buses_are_the_ieee_case():
    lines = (DATA / "ieee118" / "buses.csv").read_text().splitlines()
    buses = dict(line.split(",") for line in lines[1:])
    assert list(buses) == [str(number) for number in range(1, 119)]
    assert Counter(buses.values()) == {"138": 105, "345": 11, "161": 2}
    assert {bus for bus, kv in buses.items() if kv == "161"} == {"68", "87"}
    assert "11 at 345 kV, 2 at 161 kV, 105 at 138 kV" in (DATA / "README.md").read_text()


def test_phasor_streams_are_1534_and_one_extra():
    rows = quickstart.phasor_streams(DATA)
    names = Counter((row["collection"], row["name"]) for row in rows)
    assert len(rows) == 1535
    assert len(names) == 118 * 13 == 1534
    assert [key for key, count in names.items() if count > 1] == [("grid/ieee118/bus059", "L1MAG")]
    assert rows[-1]["uuid"] == "c1fbd385-6fb8-40aa-b6fb-8a826c1d98f9"
    assert [row for row in rows if "uuid" in row] == rows[-1:]
    assert {row["collection"] for row in rows} == {f"grid/ieee118/bus{number:03d}" for number in range(1, 119)}
    assert all(isinstance(text, str) and text for row in rows for text in row["annotations"].values())
    assert "1,534 streams" in (DATA / "README.md").read_text()
    assert "1,535 in all" in (DATA / "README.md").read_text()


def test_the_uuids_of_the_catalogue_are_unique():
    """The rows without a uuid get the derived one, which is recomputed here from its definition."""
    space = uuid.uuid5(uuid.NAMESPACE_DNS, "airflow-provider-btrdb")
    rows = quickstart.phasor_streams(DATA) + quickstart.weather_streams(DATA)
    derived = [
        str(uuid.uuid5(space, json.dumps([row["collection"], row["name"]], ensure_ascii=False, separators=(",", ":"))))
        for row in rows
        if "uuid" not in row
    ]
    assert len({*derived, *(row["uuid"] for row in rows if "uuid" in row)}) == len(rows) == 1535 + 22


def clean_values(collection: str, name: str) -> dict[str, str]:
    """What a clean phasor stream has, from the names alone (and the base voltages of the IEEE case)."""
    bus = collection.removeprefix("grid/ieee118/bus").lstrip("0")
    high, middle = ["8", "9", "10", "26", "30", "38", "63", "64", "65", "81", "116"], ["68", "87"]
    base_kv = "161" if bus in middle else "345" if bus in high else "138"
    if name == "FREQ":
        return {"bus": bus, "base_kv": base_kv, "phase": "all", "description": "frequency of the bus", "unit": "Hz"}
    quantity, size = {"L": ("voltage", "volts"), "C": ("current", "amps")}[name[0]]
    part, unit = {"MAG": ("magnitude", size), "ANG": ("angle", "deg")}[name[2:]]
    description = f"{quantity} {part}, phase {name[1]}"
    return {"bus": bus, "base_kv": base_kv, "phase": name[1], "description": description, "unit": unit}


def test_a_naive_audit_finds_the_planted_faults_and_nothing_else():
    found = []
    seen = set()
    for row in quickstart.phasor_streams(DATA):
        place = (row["collection"], row["name"])
        clean = clean_values(*place)
        if place in seen:
            found.append(("duplicate_name", *place, row["unit"], clean["unit"], row["uuid"]))
        elif row["unit"] != clean["unit"]:
            found.append(("misspelt_unit", *place, row["unit"], clean["unit"], None))
        seen.add(place)
        assert row["annotations"].items() <= clean.items()
        left_out = clean.keys() - row["annotations"].keys() - {"unit"}
        found += [("missing_annotation", *place, key, clean[key], None) for key in left_out]
    planted = [tuple(fault.values()) for fault in quickstart.planted_faults(DATA)]
    assert list(quickstart.planted_faults(DATA)[0]) == ["fault", "collection", "name", "value", "clean", "uuid"]
    assert sorted(found, key=str) == sorted(planted, key=str)
    assert Counter(fault[0] for fault in planted) == {"misspelt_unit": 7, "missing_annotation": 5, "duplicate_name": 1}
    assert len({fault[1:3] for fault in planted}) == len(planted) == 13
    assert "plants 13 faults, each on another stream" in " ".join((DATA / "README.md").read_text().split())


def test_misspelt_units_are_not_allowed_and_all_others_are():
    allowed = quickstart.allowed_units(DATA)
    assert allowed == ["Hz", "W/m^2", "amps", "deg", "degC", "m", "m/s", "mbar", "percent", "volts"]
    wrong = {fault["value"] for fault in quickstart.planted_faults(DATA) if fault["fault"] == "misspelt_unit"}
    rows = quickstart.phasor_streams(DATA) + quickstart.weather_streams(DATA)
    assert {row["unit"] for row in rows} - set(allowed) == wrong
    assert len(wrong) == 7


# -- the reader --------------------------------------------------------------------------------------------------------


def test_importing_reads_no_data_and_only_the_standard_library(tmp_path):
    source = ROOT / "example_dags" / "quickstart_data.py"
    shutil.copy(source, tmp_path)  # no data folder beside it
    code = (
        "import sys; before = set(sys.modules); opened = []\n"
        "csv = lambda event, args: event == 'open' and str(args[0]).endswith('.csv')\n"
        "sys.addaudithook(lambda event, args: csv(event, args) and opened.append(args))\n"
        "import quickstart_data\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before} - {'quickstart_data'}\n"
        "assert new <= sys.stdlib_module_names, new\n"
        "assert not opened, opened\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)


READERS = ("weather_streams", "weather_files", "phasor_streams", "planted_faults", "allowed_units")

FILES = {
    "columns": ("weather/columns.csv", "weather_streams"),
    "703165": ("weather/703165TY.csv", "weather_files"),
    "723170": ("weather/723170TYA.csv", "weather_streams"),
    "buses": ("ieee118/buses.csv", "phasor_streams"),
    "channels": ("ieee118/channels.csv", "phasor_streams"),
    "faults": ("ieee118/faults.csv", "planted_faults"),
}
# Which of FILES, the text to replace, its replacement, and what the sentence says after the file's name.
BAD = [
    (
        "channels",
        "unit,ph",
        "units,ph",
        "row 1: unknown column 'units'; the columns are name, unit, phase, description",
    ),
    ("channels", ",phase,", ",", "row 1: missing column 'phase'; the columns are name, unit, phase, description"),
    ("channels", "name,unit", "name,unit,unit", "row 1: repeated column 'unit'; the columns are name, unit, phase"),
    ("channels", "FREQ,Hz", "FREQ,", "row 14: column 'unit' is empty; the columns are name, unit, phase, description"),
    ("channels", "FREQ,Hz,all,", "FREQ,Hz#", "row 14: column 'phase' is empty; the columns are name, unit, phase"),
    ("channels", "FREQ", "L1MAG", "row 14: column 'name' repeats row 2"),
    ("channels", '"current angle, phase 3"', "a,b", "row 13: unknown column with 'b'; the columns are name, unit"),
    ("channels", 'angle, phase 2"', "angle, phase 2", "row 5: this is not CSV in UTF-8"),
    ("buses", "\n17,138", "\nseventeen,138", "row 18: column 'bus' has 'seventeen', which is not a plain whole number"),
    ("buses", "\n17,138", "\n017,138", "row 18: column 'bus' has '017', which is not a plain whole number"),
    ("buses", "\n17,138", "\n17,nan", "row 18: column 'base_kv' has 'nan', which is not a number"),
    ("buses", "\n17,138", "\n16,138", "row 18: column 'bus' repeats row 17"),
    (
        "faults",
        "misspelt_unit,7",
        "mispelt_unit,7",
        "row 2: unknown fault 'mispelt_unit'; known are misspelt_unit, mis",
    ),
    ("faults", "unit,7,", "unit,119,", "row 2: unknown bus '119'; known are 1, 2, 3"),
    ("faults", "7,L1MAG", "7,L4MAG", "row 2: unknown channel 'L4MAG'; known are L1MAG, L1ANG"),
    ("faults", "L1ANG,base_kv", "L1ANG,kv", "row 9: unknown value 'kv'; known are bus, base_kv, phase, description"),
    ("faults", "Volts", "volts", "row 2: the value 'volts' is the right unit"),
    (
        "faults",
        "c1fbd385-",
        "c1fbd38-",
        "row 14: column 'uuid' has 'c1fbd38-6fb8-40aa-b6fb-8a826c1d98f9', which is not",
    ),
    ("faults", "c1fbd385-6fb8-40aa-b6fb-8a826c1d98f9", "", "row 14: column 'uuid' is for duplicate_name"),
    ("faults", "23,L2ANG", "7,L1MAG", "row 3: column 'bus and channel' repeats row 2"),
    (
        "columns",
        "description\n",
        "text\n",
        "row 1: unknown column 'text'; the columns are column, name, unit, description",
    ),
    ("703165", "Hvis (m)", "Hvis (km)", "row 2: unknown column 'Hvis (km)'; the columns are Date (MM/DD/YYYY), Time"),
    (
        "723170",
        ",NC,-5.0",
        ",NC",
        "row 1: 6 cells where the columns are station, station_name, state, utc_offset_hours",
    ),
    ("723170", ",-5.0,", ",EST,", "row 1: column 'utc_offset_hours' has 'EST', which is not a number"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the data; the weather files cut to their first four lines."""
    shutil.copytree(DATA / "ieee118", tmp_path / "ieee118")
    (tmp_path / "weather").mkdir()
    for path in (DATA / "weather").iterdir():
        lines = path.read_text().splitlines(keepends=True)
        (tmp_path / "weather" / path.name).write_text("".join(lines if path.name == "columns.csv" else lines[:4]))
    return tmp_path


@pytest.mark.parametrize(("table", "old", "new", "message"), BAD, ids=[f"{bad[0]} {bad[3][:40]}" for bad in BAD])
def test_a_malformed_table_is_refused_in_one_sentence(copy, table, old, new, message):
    file, reader = FILES[table]
    text = (copy / file).read_text()
    assert text.count(old) >= 1
    (copy / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(f"{copy / file}, {message}")) as caught:
        getattr(quickstart, reader)(copy)
    assert "\n" not in str(caught.value)


def test_a_byte_that_is_not_utf8_names_its_row(copy):
    path = copy / "ieee118" / "buses.csv"
    path.write_bytes(path.read_bytes().replace(b"\n40,", b"\n4\xff,"))
    with pytest.raises(ValueError, match=r"buses\.csv, row 41: this is not CSV in UTF-8"):
        quickstart.phasor_streams(copy)


@pytest.mark.parametrize("reader", READERS)
def test_an_absent_folder_is_an_oserror_that_names_the_file(tmp_path, reader):
    with pytest.raises(OSError, match=r"nowhere/.*/(columns|channels)\.csv"):
        getattr(quickstart, reader)(tmp_path / "nowhere")


def test_an_empty_file_and_a_folder_without_weather(copy):
    (copy / "ieee118" / "channels.csv").write_text("")
    with pytest.raises(ValueError, match=r"channels\.csv, row 1: missing column 'name'; the columns are"):
        quickstart.phasor_streams(copy)
    (copy / "weather" / "703165TY.csv").write_text('703165,"SAND POINT",AK,-9.0,55.317,-160.517,7\n')
    with pytest.raises(ValueError, match=r"703165TY\.csv, row 2: missing column 'Date"):
        quickstart.weather_streams(copy)
    for path in (copy / "weather").glob("7*.csv"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no weather file"):
        quickstart.weather_files(copy)


def test_what_spreadsheets_add_is_accepted(copy):
    """A byte order mark, carriage returns, a last empty line and another order of columns change nothing."""
    path = copy / "ieee118" / "buses.csv"
    lines = [",".join(reversed(line.split(","))) for line in path.read_text().splitlines()]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([*lines, "", ""]).encode())
    assert quickstart.phasor_streams(copy) == quickstart.phasor_streams(DATA)
