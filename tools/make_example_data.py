"""Makes everything below example_dags/data, byte for byte the same each time, from two wheels of PyPI.

    pip download --no-deps --dest wheels pvlib==0.16.1 pandapower==3.5.6
    python tools/make_example_data.py --pvlib wheels/pvlib-0.16.1-py3-none-any.whl \\
        --pandapower wheels/pandapower-3.5.6-py3-none-any.whl

The wheels are read as zip files, never installed. `expected.json` is computed here on its own: this file shares no
code with example_dags or with the package, so that it can judge both.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import sys
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

# SHA-256 of every wheel member that is used: with another release the facts in the README could be untrue.
SOURCES = {
    "pvlib/data/703165TY.csv": "f0333a68a116f5ae92f1285a2ab8784d8e00e52a367445658ac88d72d93d8ca4",
    "pvlib/data/723170TYA.CSV": "1e96f84638ce98e6b29002bc45a27aa69bb29b0ed0368d3b52b7b1f81610c6c9",
    "pvlib-0.16.1.dist-info/licenses/LICENSE": "a02e12ddaada3cf0d5dbdd8affdd577c2eec640758a95842a304f7513b8c0be4",
    "pandapower/networks/power_system_test_case_jsons/case118.json": (
        "453ba77bcec279dc9e0edddc91eb7e1001aff9a904080724bd33db6f504f14eb"
    ),
    "pandapower-3.5.6.dist-info/licenses/LICENSE": "115ae3808a950626b17b5549a3512743b5c81d7d87a654f41258537364845afc",
}
WEATHER_MEMBERS = {
    "weather/703165TY.csv": "pvlib/data/703165TY.csv",
    "weather/723170TYA.csv": "pvlib/data/723170TYA.CSV",
}
TIME_COLUMNS = ("Date (MM/DD/YYYY)", "Time (HH:MM)")
MISSING = "-9900"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# column of TMY3, stream name, unit, description
COLUMNS = (
    ("GHI (W/m^2)", "ghi", "W/m^2", "global horizontal irradiance, mean of the hour"),
    ("DNI (W/m^2)", "dni", "W/m^2", "direct normal irradiance, mean of the hour"),
    ("DHI (W/m^2)", "dhi", "W/m^2", "diffuse horizontal irradiance, mean of the hour"),
    ("Dry-bulb (C)", "dry_bulb", "degC", "dry bulb temperature"),
    ("Dew-point (C)", "dew_point", "degC", "dew point temperature"),
    ("RHum (%)", "relative_humidity", "percent", "relative humidity"),
    ("Pressure (mbar)", "pressure", "mbar", "station pressure"),
    ("Wdir (degrees)", "wind_direction", "deg", "wind direction, clockwise from north"),
    ("Wspd (m/s)", "wind_speed", "m/s", "wind speed"),
    ("Hvis (m)", "horizontal_visibility", "m", "horizontal visibility"),
    ("CeilHgt (m)", "ceiling_height", "m", "cloud ceiling height; 77777 means unlimited"),
)

# name, unit, phase, description
CHANNELS = (
    *(
        (f"{letter}{phase}{part}", unit, str(phase), f"{quantity} {words}, phase {phase}")
        for letter, quantity, size in (("L", "voltage", "volts"), ("C", "current", "amps"))
        for phase in (1, 2, 3)
        for part, unit, words in (("MAG", size, "magnitude"), ("ANG", "deg", "angle"))
    ),
    ("FREQ", "Hz", "all", "frequency of the bus"),
)

# fault, bus, channel, value, uuid: see the README text below for their meaning.
FAULTS = (
    ("misspelt_unit", "7", "L1MAG", "Volts", ""),
    ("misspelt_unit", "23", "L2ANG", "degs", ""),
    ("misspelt_unit", "31", "C1MAG", "amp", ""),
    ("misspelt_unit", "49", "FREQ", "hz", ""),
    ("misspelt_unit", "69", "L3MAG", "volst", ""),
    ("misspelt_unit", "80", "C3ANG", "dge", ""),
    ("misspelt_unit", "100", "C2MAG", "Ampere", ""),
    ("missing_annotation", "12", "L1ANG", "base_kv", ""),
    ("missing_annotation", "26", "FREQ", "bus", ""),
    ("missing_annotation", "54", "C1ANG", "description", ""),
    ("missing_annotation", "77", "L3ANG", "phase", ""),
    ("missing_annotation", "110", "C2MAG", "base_kv", ""),
    ("duplicate_name", "59", "L1MAG", "amps", "c1fbd385-6fb8-40aa-b6fb-8a826c1d98f9"),
)

SPECIFICATION = """\
# The phasor streams without the planted faults, as a specification; `prefix` is where they are to be.
prefixes: ["{{ prefix }}"]
defaults:
  annotations:
    bus: "{{ bus }}"
    base_kv: "{{ 345 if bus in (8, 9, 10, 26, 30, 38, 63, 64, 65, 81, 116) else 161 if bus in (68, 87) else 138 }}"
streams:
  - for_each: {bus: 1..118, of: [[L, voltage, volts], [C, current, amps]], phase: 1..3, part: [magnitude, angle]}
    collection: "{{ prefix }}bus{{ '%03d' % bus }}"
    name: "{{ of[0] }}{{ phase }}{{ part[:3].upper() }}"
    unit: "{{ of[2] if part == 'magnitude' else 'deg' }}"
    annotations: {phase: "{{ phase }}", description: "{{ of[1] }} {{ part }}, phase {{ phase }}"}
  - for_each: {bus: 1..118}
    collection: "{{ prefix }}bus{{ '%03d' % bus }}"
    name: FREQ
    unit: Hz
    annotations: {phase: all, description: frequency of the bus}
"""

# Without this a checkout that rewrites line ends would break SHA256SUMS.
GIT_ATTRIBUTES = "* -text\n"

README = """\
# Example data

Made by `tools/make_example_data.py`; do not edit by hand. `SHA256SUMS` lists every other file
(`sha256sum --check SHA256SUMS`). `example_dags/quickstart_data.py` turns these tables into rows for the operators.

## weather/

Typical meteorological year (TMY3) data of the National Renewable Energy Laboratory (NREL), public data of the United
States government, as distributed with pvlib 0.16.1:
{stations}.
Format: S. Wilcox and W. Marion, Users Manual for TMY3 Data Sets, NREL/TP-581-43156, 2008.

Each file has the original header line (station, name, state, UTC offset in hours, latitude, longitude, elevation in
metres), the original column names, and {rows:,} hourly rows, cut to date, time and the {columns} value columns of
`columns.csv`; the source and uncertainty flags are left out. Cell text is unchanged. Both files together give
{streams} streams with {points:,} points.

The data has its warts, and they are kept:

- A time labels the END of its hour, in the standard time of the header's UTC offset (no daylight saving). The time of
  a point is that label.
- `24:00` is 00:00 of the next day.
- The months come from different years, so the rows are not in order of time. No time occurs twice in a file.
- `-9900` means missing: {missing:,} cells of horizontal visibility of 703165, and no other cell. Missing is not a
  point.
- `77777` in ceiling height means unlimited, and is a real code that stays a value:
  {unlimited}.
  None of the codes 77777 (elsewhere), 7777, 88888, 99999 occurs, no cell is empty and none is text.
- The pressure of 703165 is 1012 mbar in every row.
- Wind direction 0 mostly goes with wind speed 0 (calm); the exceptions are
  {not_calm}.
- Every irradiance cell carries source flag 1 or 2 in the original, which stand for modelled, not for measured values.

`expected.json` says what loading must give, per stream `collection/name`: count, first and last time in UTC
nanoseconds, and the correctly rounded sum of the values; then the totals.

## ieee118/

`buses.csv` has the number and the base voltage of the 118 buses of the IEEE 118-bus test case, as distributed with
pandapower 3.5.6 (which took it from PYPOWER): {voltages}.
The bus number is pandapower's bus `name`, 1 to 118; pandapower's own index starts at 0.

The catalogue of phasor channels is invented for this example, and there are no phasor points: `channels.csv` has the
13 channels that each bus gets (phase `all` for the frequency), so 118 x 13 = {clean:,} streams. `faults.csv` plants
{faults} faults, each on another stream, that an audit must find:

| fault | planted | value | what it does |
|---|---|---|---|
| `misspelt_unit` | {misspelt_unit} | the wrong unit | the stream has this unit |
| `missing_annotation` | {missing_annotation} | the annotation key | the stream lacks this annotation |
| `duplicate_name` | {duplicate_name} | the extra stream's unit | one more stream has the same collection and name |

Only `duplicate_name` has a uuid: that of the extra stream. So the catalogue has {clean:,} streams plus this one planted
extra: {all:,} in all.

`streams.yaml` is a specification of the {clean:,} streams without the faults, for `example_dags/provision_ieee118.py`
and `btrdb-provision plan --param prefix=grid/ieee118/`.

## Licences

The TMY3 files come from the pvlib wheel, whose licence (BSD 3-Clause) is in `LICENSE.pvlib.txt`: copyright 2023 pvlib
python Contributors, 2014 PVLIB python Development Team, 2013 Sandia National Laboratories. `ieee118/buses.csv` comes
from the pandapower wheel, whose licence (BSD 3-Clause) is in `LICENSE.pandapower.txt`: copyright 2016-2026 University
of Kassel, Fraunhofer Institute for Energy Economics and Energy System Technology (IEE) Kassel, and individual
contributors. Both were cut down from the originals as said above. None of these parties endorses this project.
"""


class Weather(NamedTuple):
    """One TMY3 file after the cut: the header line as it was, its parsed cells, and the rows of kept cells."""

    header_line: str
    header: list[str]
    rows: list[list[str]]

    @property
    def offset(self) -> timezone:
        return timezone(timedelta(hours=float(self.header[3])))


def read_members(pvlib: Path, pandapower: Path) -> dict[str, bytes]:
    """The pinned members of both wheels; raises ValueError when one is missing or differs."""
    members: dict[str, bytes] = {}
    for wheel, prefix in ((pvlib, "pvlib"), (pandapower, "pandapower")):
        with zipfile.ZipFile(wheel) as archive:
            for name, digest in SOURCES.items():
                if name.startswith((f"{prefix}/", f"{prefix}-")):
                    if name not in archive.namelist():
                        raise ValueError(
                            f"{wheel} has no {name}; the docstring of this tool names the releases to download"
                        )
                    members[name] = archive.read(name)
                    if hashlib.sha256(members[name]).hexdigest() != digest:
                        raise ValueError(f"{name} of {wheel} has another SHA-256 than {digest}")
    return members


def cut_weather(text: str) -> Weather:
    """Keep the header line, date, time and the chosen columns of a TMY3 file."""
    header_line, names_line, *lines = text.splitlines()
    names = next(csv.reader([names_line]))
    kept = [names.index(name) for name in (*TIME_COLUMNS, *(column[0] for column in COLUMNS))]
    rows = [[cells[index] for index in kept] for cells in csv.reader(lines)]
    return Weather(header_line, next(csv.reader([header_line])), rows)


def weather_text(weather: Weather) -> str:
    names = ",".join((*TIME_COLUMNS, *(column[0] for column in COLUMNS)))
    return "\n".join([weather.header_line, names, *(",".join(row) for row in weather.rows)]) + "\n"


def utc_ns(date: str, time: str, offset: timezone) -> int:
    """UTC nanoseconds of a TMY3 label; 24:00 is the next day's 00:00."""
    hour, minute = (int(part) for part in time.split(":"))
    moment = datetime.strptime(date, "%m/%d/%Y").replace(tzinfo=offset) + timedelta(hours=hour, minutes=minute)
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def summary(points: Sequence[tuple[int, float]]) -> dict[str, int | float]:
    return {
        "count": len(points),
        "first_ns": min(time for time, _ in points),
        "last_ns": max(time for time, _ in points),
        "sum": math.fsum(value for _, value in points),
    }


def expected(files: Iterable[Weather]) -> str:
    """The JSON text of what loading the weather files must give."""
    streams: dict[str, dict[str, int | float]] = {}
    every: list[tuple[int, float]] = []
    cells = 0
    for weather in files:
        times = [utc_ns(row[0], row[1], weather.offset) for row in weather.rows]
        for index, column in enumerate(COLUMNS, start=len(TIME_COLUMNS)):
            texts = [row[index] for row in weather.rows]
            points = [(time, float(text)) for time, text in zip(times, texts, strict=True) if text != MISSING]
            streams[f"weather/tmy3/{weather.header[0]}/{column[1]}"] = summary(points)
            every += points
            cells += len(texts)
    totals = {"streams": len(streams), "missing": cells - len(every), **summary(every)}
    return json.dumps({"streams": streams, "totals": totals}, indent=2) + "\n"


def base_voltages(case: bytes) -> list[tuple[str, str]]:
    """Bus number and base voltage in kV, both as text, by bus number."""
    frame = json.loads(json.loads(case)["_object"]["bus"]["_object"])
    name, voltage = frame["columns"].index("name"), frame["columns"].index("vn_kv")
    buses = sorted((int(row[name]), float(row[voltage])) for row in frame["data"])
    if [number for number, _ in buses] != list(range(1, 119)):
        raise ValueError("the buses of case118.json are not named 1 to 118")
    return [(str(number), f"{kilovolts:g}") for number, kilovolts in buses]


def table(*rows: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def readme(files: Sequence[Weather], buses: Sequence[tuple[str, str]]) -> str:
    """The README, with every number counted from the data."""
    place = {column[1]: index for index, column in enumerate(COLUMNS, start=len(TIME_COLUMNS))}
    speed, direction, ceiling = place["wind_speed"], place["wind_direction"], place["ceiling_height"]

    def per_file(counts: Iterable[int]) -> str:
        return ", ".join(f"{count:,} in {weather.header[0]}" for weather, count in zip(files, counts, strict=True))

    missing = sum(row.count(MISSING) for weather in files for row in weather.rows)
    levels = sorted({float(kilovolts) for _, kilovolts in buses}, reverse=True)
    kinds = [fault[0] for fault in FAULTS]
    clean = len(buses) * len(CHANNELS)
    return README.format(
        stations=" and ".join(f"{w.header[0]} ({w.header[1].title()}, {w.header[2]})" for w in files),
        rows=len(files[0].rows),
        columns=len(COLUMNS),
        streams=len(COLUMNS) * len(files),
        points=sum(len(weather.rows) for weather in files) * len(COLUMNS) - missing,
        missing=missing,
        unlimited=per_file(sum(row[ceiling] == "77777" for row in weather.rows) for weather in files),
        not_calm=per_file(
            sum(float(row[direction]) == 0 < float(row[speed]) for row in weather.rows) for weather in files
        ),
        voltages=", ".join(f"{sum(float(kv) == level for _, kv in buses)} at {level:g} kV" for level in levels),
        clean=clean,
        all=clean + kinds.count("duplicate_name"),
        faults=len(FAULTS),
        **{kind: kinds.count(kind) for kind in kinds},
    )


def make(pvlib: Path, pandapower: Path) -> dict[str, bytes]:
    """Every file below example_dags/data: path -> content."""
    members = read_members(pvlib, pandapower)
    weather = {path: cut_weather(members[name].decode("ascii")) for path, name in WEATHER_MEMBERS.items()}
    buses = base_voltages(members["pandapower/networks/power_system_test_case_jsons/case118.json"])
    texts = {path: weather_text(content) for path, content in weather.items()} | {
        "weather/columns.csv": table(("column", "name", "unit", "description"), *COLUMNS),
        "ieee118/buses.csv": table(("bus", "base_kv"), *buses),
        "ieee118/channels.csv": table(("name", "unit", "phase", "description"), *CHANNELS),
        "ieee118/faults.csv": table(("fault", "bus", "channel", "value", "uuid"), *FAULTS),
        "ieee118/streams.yaml": SPECIFICATION,
        "expected.json": expected(weather.values()),
        "README.md": readme(list(weather.values()), buses),
        ".gitattributes": GIT_ATTRIBUTES,
    }
    files = {path: text.encode() for path, text in texts.items()}
    files["LICENSE.pvlib.txt"] = members["pvlib-0.16.1.dist-info/licenses/LICENSE"]
    files["LICENSE.pandapower.txt"] = members["pandapower-3.5.6.dist-info/licenses/LICENSE"]
    sums = "".join(f"{hashlib.sha256(files[path]).hexdigest()}  {path}\n" for path in sorted(files))
    return files | {"SHA256SUMS": sums.encode()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make example_dags/data from the wheels of pvlib and pandapower.")
    parser.add_argument("--pvlib", type=Path, required=True, metavar="WHEEL")
    parser.add_argument("--pandapower", type=Path, required=True, metavar="WHEEL")
    home = Path(__file__).resolve().parent.parent
    parser.add_argument("--out", type=Path, default=home / "example_dags" / "data", metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        files = make(options.pvlib, options.pandapower)
        for path, content in files.items():
            target = options.out / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"make_example_data: {error}", file=sys.stderr)
        return 1
    print(f"{len(files)} files, {sum(map(len, files.values())):,} bytes in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
