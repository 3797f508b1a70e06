"""Delimited text files -> points: times, missing cells, numbers, and files that are no tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.ingest.tables import Table, TableFormat, read_table


def _ns(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp()) * 10**9  # type: ignore[misc,arg-type]


class Reader:
    """Writes a text to a file and reads columns of it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "table.csv"

    def __call__(self, text: str | bytes, *columns: str, **how: Any) -> Table:
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_table(self.path, columns or ("v",), TableFormat(**{"time_columns": ["t"], **how}))


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


def test_columns_in_any_order_with_others_between(read: Reader) -> None:
    table = read("b,x,t,a\n1.5,no number,2024-01-31T00:00:00Z,-2\n2.5,,2024-01-31T00:00:01Z,3e2\n", "a", "b")
    start = _ns(2024, 1, 31)
    assert {name: list(points) for name, points in table.columns.items()} == {
        "a": [(start, -2.0), (start + 10**9, 300.0)],
        "b": [(start, 1.5), (start + 10**9, 2.5)],
    }
    assert table.missing_cells == 0


def test_the_order_of_the_file_is_kept(read: Reader) -> None:
    table = read("t,v\n3,1\n1,2\n3,1\n", time_format="ns")
    assert list(table.columns["v"]) == [(3, 1.0), (1, 2.0), (3, 1.0)]


def test_a_table_without_rows(read: Reader) -> None:
    table = read("t,v,w\n", "v", "w")
    assert [len(points) for points in table.columns.values()] == [0, 0]


# ---------------------------------------------------------------- times


@pytest.mark.parametrize(
    ("text", "how", "expected"),
    [
        ("2024-01-31T12:00:00.123456789Z", {}, _ns(2024, 1, 31, 12) + 123_456_789),
        ("2024-01-31T12:00:00+05:30", {}, _ns(2024, 1, 31, 6, 30)),
        ("2024-01-31T12:00:00+05:30", {"utc_offset_hours": -8}, _ns(2024, 1, 31, 6, 30)),
        ("-5", {"time_format": "ns"}, -5),
        (" 1706702400000000001 ", {"time_format": "ns"}, 1706702400000000001),
        ("31.01.2024 12:00", {"time_format": "%d.%m.%Y %H:%M"}, _ns(2024, 1, 31, 12)),
        ("31.01.2024 12:00", {"time_format": "%d.%m.%Y %H:%M", "utc_offset_hours": -5}, _ns(2024, 1, 31, 17)),
        ("31.01.2024 12:00", {"time_format": "%d.%m.%Y %H:%M", "utc_offset_hours": 5.75}, _ns(2024, 1, 31, 6, 15)),
        ("31.01.2024 12:00 +0200", {"time_format": "%d.%m.%Y %H:%M %z", "utc_offset_hours": 9}, _ns(2024, 1, 31, 10)),
        ("01/31/2024 24:00", {"time_format": "%m/%d/%Y %H:%M"}, _ns(2024, 2, 1)),
        ("12/31/2024 24:00", {"time_format": "%m/%d/%Y %H:%M", "utc_offset_hours": -7}, _ns(2025, 1, 1, 7)),
        ("02/28/2024 24:00:00", {"time_format": "%m/%d/%Y %H:%M:%S"}, _ns(2024, 2, 29)),
        ("24:00 01/31/2024", {"time_format": "%H:%M %m/%d/%Y"}, _ns(2024, 2, 1)),
        ("01/31/2024 00:24", {"time_format": "%m/%d/%Y %H:%M"}, _ns(2024, 1, 31, 0, 24)),
    ],
)
def test_times(read: Reader, text: str, how: dict[str, Any], expected: int) -> None:
    assert list(read(f"t,v\n{text},1\n", **how).columns["v"]) == [(expected, 1.0)]


def test_several_columns_are_one_time(read: Reader) -> None:
    table = read("d,v,h\n1/2/2024,7, 24:00 \n", time_columns=["d", "h"], time_format="%m/%d/%Y %H:%M")
    assert list(table.columns["v"]) == [(_ns(2024, 1, 3), 7.0)]


@pytest.mark.parametrize("clock", ["10:24:00", "23:24:00", "00:24:00"])
def test_twenty_four_minutes_past_the_hour_is_not_the_end_of_a_day(read: Reader, clock: str) -> None:
    table = read(f"t,v\n2024-01-31 {clock},1\n", time_format="%Y-%m-%d %H:%M:%S")
    assert list(table.columns["v"]) == [(_ns(2024, 1, 31, int(clock[:2]), 24), 1.0)]


def test_every_minute_of_a_day(read: Reader) -> None:
    clocks = [f"{minute // 60:02d}:{minute % 60:02d}:{minute % 25:02d}" for minute in range(24 * 60)]
    text = "".join(f"2024-01-31 {clock},1\n" for clock in clocks)
    table = read(f"t,v\n{text}", time_format="%Y-%m-%d %H:%M:%S")
    start = _ns(2024, 1, 31)
    assert table.columns["v"].times.tolist() == [start + (60 * n + n % 25) * 10**9 for n in range(24 * 60)]


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("2024-01-31T12:00:00", {}),
        ("", {}),
        ("1.5", {"time_format": "ns"}),
        ("", {"time_format": "ns"}),
        ("31.01.2024", {"time_format": "%d.%m.%Y %H:%M"}),
        ("31.01.2024 24:30", {"time_format": "%d.%m.%Y %H:%M"}),
        ("31.01.2024 12:00", {"time_format": "%d.%m.%Y %H:%M", "utc_offset_hours": 24}),
    ],
)
def test_a_bad_time_is_named_with_its_line(read: Reader, text: str, how: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"table\.csv, line 2: "):
        read(f"t,v\n{text},1\n", **how)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        ("1_000", {"time_format": "ns"}),
        ("99999999999999999999", {"time_format": "ns"}),
        ("0001-01-01 00:00", {"time_format": "%Y-%m-%d %H:%M", "utc_offset_hours": 5}),
        ("9999-01-01 00:00", {"time_format": "%Y-%m-%d %H:%M"}),
    ],
)
def test_a_time_that_nanoseconds_cannot_hold_is_named_with_its_line(
    read: Reader, text: str, how: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=r"table\.csv, line 2"):
        read(f"t,v\n{text},1\n", **how)


# ---------------------------------------------------------------- values


@pytest.mark.parametrize("text", ["1", "-1.5", "+2", " 3.25 ", "1e-3", ".5", "5.", "-0.0", "1E+10"])
def test_numbers(read: Reader, text: str) -> None:
    ((_, value),) = read(f"t,v\n1,{text}\n", time_format="ns").columns["v"]
    assert str(value) == str(float(text))


@pytest.mark.parametrize("text", ["x", "1,5;", "1 2", "0x10", "--1", "1e", "n/a"])
def test_a_bad_number_is_named_with_its_line_and_column(read: Reader, text: str) -> None:
    with pytest.raises(InputError, match=r"table\.csv, line 3: v is .* which is not a number"):
        read(f't,v\n1,1\n2,"{text}"\n', time_format="ns")


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-Infinity", "1e400"])
def test_a_number_that_is_not_finite_is_named_with_its_line_and_column(read: Reader, text: str) -> None:
    with pytest.raises(InputError, match=rf"table\.csv, line 3: v is '{text}'; BTrDB stores finite numbers only"):
        read(f"t,v\n1,1\n2,{text}\n", time_format="ns")


@pytest.mark.parametrize("text", ["1_000", "１２"])
def test_what_only_python_calls_a_number_is_refused(read: Reader, text: str) -> None:
    with pytest.raises(InputError, match=r"table\.csv, line 3: v is .* which is not a number"):
        read(f"t,v\n1,1\n2,{text}\n", time_format="ns")


def test_missing_cells_are_no_points_and_are_counted(read: Reader) -> None:
    table = read("t,v,w\n1,,1\n2,-9900,2\n3,3, \n", "v", "w", time_format="ns", missing=["", "-9900"])
    assert list(table.columns["v"]) == [(3, 3.0)]
    assert list(table.columns["w"]) == [(1, 1.0), (2, 2.0)]
    assert table.missing_cells == 3


def test_an_empty_cell_is_missing_only_where_the_format_says_so(read: Reader) -> None:
    with pytest.raises(InputError, match="line 2: v is '', which is not a number"):
        read("t,v\n1,\n", time_format="ns", missing=["NA"])
    assert read("t,v\n1,NA\n", time_format="ns", missing=["NA"]).missing_cells == 1


def test_nan_may_stand_for_missing(read: Reader) -> None:
    table = read("t,v\n1,nan\n2,2\n", time_format="ns", missing=["", "nan"])
    assert (list(table.columns["v"]), table.missing_cells) == ([(2, 2.0)], 1)


# ---------------------------------------------------------------- the shape of the file


def test_lines_before_the_names_are_skipped_and_counted(read: Reader) -> None:
    text = 'station 7, "x\n\nt,v\n1,1\n2,x\n'
    with pytest.raises(InputError, match="line 5: v is 'x'"):
        read(text, time_format="ns", skip_lines=2)
    assert len(read(text.replace("2,x\n", ""), time_format="ns", skip_lines=2).columns["v"]) == 1
    with pytest.raises(InputError, match="has no column 't'; it has none"):
        read("t,v\n", skip_lines=9)


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters(read: Reader, delimiter: str) -> None:
    table = read(delimiter.join("tv") + "\n" + delimiter.join("15") + "\n", time_format="ns", delimiter=delimiter)
    assert list(table.columns["v"]) == [(1, 5.0)]


def test_line_ends_quotes_and_empty_lines(read: Reader) -> None:
    table = read('t,"v"\r\n1,"2"\r\n\r\n"3",4', time_format="ns")
    assert list(table.columns["v"]) == [(1, 2.0), (3, 4.0)]


@pytest.mark.parametrize(("columns", "named"), [(["w"], "w"), (["v", "V"], "V")])
def test_an_unknown_column_is_named_beside_the_known(read: Reader, columns: list[str], named: str) -> None:
    with pytest.raises(InputError, match=rf"table\.csv has no column '{named}'; it has t, v"):
        read("t,v\n1,1\n", *columns, time_format="ns")


def test_an_unknown_time_column_is_named(read: Reader) -> None:
    with pytest.raises(InputError, match="has no column 'when'; it has t, v"):
        read("t,v\n1,1\n", time_columns=["t", "when"], time_format="ns")


def test_an_empty_file_has_no_columns(read: Reader) -> None:
    with pytest.raises(InputError, match="has no column 't'; it has none"):
        read("")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv cannot be read: No such file"):
        read_table(tmp_path / "nowhere.csv", ["v"], TableFormat(time_columns=["t"]))
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_table(tmp_path, ["v"], TableFormat(time_columns=["t"]))


@pytest.mark.parametrize("data", ["t,v\n1,1é\n".encode("latin1"), "t,v\n".encode("utf-16"), b"t,v\n" * 5000 + b"\xff"])
def test_a_file_that_is_not_utf_8(read: Reader, data: bytes) -> None:
    with pytest.raises(InputError):
        read(data, time_format="ns")


def test_a_cell_beyond_all_measure_is_no_table(read: Reader) -> None:
    with pytest.raises(InputError, match=r"table\.csv is not a table: field larger"):
        read("t,v\n1," + "9" * 200_000, time_format="ns")
    with pytest.raises(InputError, match="finite numbers only") as caught:
        read("t,v\n1," + "9" * 100_000, time_format="ns")
    assert len(str(caught.value)) < 300


def test_a_byte_order_mark_is_no_part_of_a_name(read: Reader) -> None:
    assert list(read("\ufefft,v\n1,2\n", time_format="ns").columns["v"]) == [(1, 2.0)]


@pytest.mark.parametrize("row", ["2,3,5", "2"])
def test_a_row_with_too_many_or_too_few_cells_is_named(read: Reader, row: str) -> None:
    """A decimal comma or a file cut off would otherwise become other values without a word."""
    with pytest.raises(InputError, match=r"table\.csv, line 3: .* cells"):
        read(f"t,v\n1,1\n{row}\n", time_format="ns")


def test_two_columns_of_one_name_are_refused(read: Reader) -> None:
    with pytest.raises(InputError, match=r"table\.csv has two columns called 'v'"):
        read("t,v,v\n1,1,2\n", time_format="ns")
    assert len(read("t,v,x,x\n1,1,2,3\n", time_format="ns").columns["v"]) == 1


def test_a_column_wanted_twice_is_read_once(read: Reader) -> None:
    assert list(read("t,v\n1,2\n", "v", "v", time_format="ns").columns["v"]) == [(1, 2.0)]


@pytest.mark.parametrize("delimiter", ["", ";;", "\n"])
def test_a_delimiter_is_one_character(read: Reader, delimiter: str) -> None:
    with pytest.raises(InputError, match="delimiter"):
        read("t,v\n1,2\n", time_format="ns", delimiter=delimiter)
