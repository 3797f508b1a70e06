"""Laws of times: exact to the nanosecond from every form, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client.errors import BTrDBError, InputError
from airflow_provider_btrdb.client.times import format_ns, time_range, to_ns
from airflow_provider_btrdb.protocol import MAX_TIME_NS, MIN_TIME_NS

INT64 = st.integers(-(2**63), 2**63 - 1)
OFFSETS = st.integers(-(24 * 60 - 1), 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _exact(moment: datetime) -> int:
    """Nanoseconds since the epoch, by integer arithmetic on the parts of a timedelta."""
    since = moment - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


@settings(deadline=None)
@given(INT64)
def test_text_and_back(time_ns: int) -> None:
    text = format_ns(time_ns)
    assert to_ns(text) == time_ns
    assert len(text) == len("2024-01-31T12:00:00.000000000Z")
    assert text.endswith("Z")


def test_texts() -> None:
    assert format_ns(0) == "1970-01-01T00:00:00.000000000Z"
    assert format_ns(-1) == "1969-12-31T23:59:59.999999999Z"
    assert format_ns(1_706_702_400_000_000_123) == "2024-01-31T12:00:00.000000123Z"
    for text in (
        "2024-01-31T12:00:00Z",
        "2024-01-31t12:00:00z",
        "2024-01-31 12:00:00Z",
        " 2024-01-31T12:00:00.0Z\n",
        "2024-01-31T12:00:00.000000000+00:00",
        "2024-01-31T13:30:00+01:30",
        "2024-01-31T10:30:00-01:30",
    ):
        assert to_ns(text) == 1_706_702_400_000_000_000


@settings(deadline=None)
@given(INT64, st.integers(1, 9), st.integers(-(24 * 60 - 1), 24 * 60 - 1))
def test_text_of_any_precision_and_offset(time_ns: int, digits: int, minutes: int) -> None:
    time_ns -= time_ns % 10 ** (9 - digits)
    local = datetime(1970, 1, 1) + timedelta(seconds=time_ns // 1_000_000_000, minutes=minutes)
    fraction = f"{time_ns % 1_000_000_000:09d}"[:digits]
    sign = "-" if minutes < 0 else "+"
    text = f"{local.strftime('%Y-%m-%dT%H:%M:%S')}.{fraction}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
    assert to_ns(text) == time_ns


@settings(deadline=None)
@given(st.datetimes(timezones=OFFSETS))
def test_aware_datetimes(moment: datetime) -> None:
    assert to_ns(moment) == _exact(moment)


def test_a_zone_with_daylight_saving() -> None:
    from zoneinfo import ZoneInfo

    zone = ZoneInfo("Europe/Berlin")
    first = datetime(2024, 10, 27, 2, 30, tzinfo=zone)
    assert to_ns(first.replace(fold=1)) - to_ns(first) == 3600 * 10**9


@settings(deadline=None)
@given(INT64)
def test_integers_of_any_kind(number: int) -> None:
    assert to_ns(number) == number
    assert to_ns(np.int64(number)) == number
    assert type(to_ns(np.int64(number))) is int


@settings(deadline=None)
@given(
    st.sampled_from(["Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns"]),
    st.integers(MIN_TIME_NS, MAX_TIME_NS - 1),
)
def test_numpy_timestamps_of_every_unit(unit: str, time_ns: int) -> None:
    moment = np.datetime64(time_ns, "ns").astype(f"datetime64[{unit}]")
    in_ns = moment.astype("datetime64[ns]")
    assert to_ns(moment) == int(in_ns.astype(np.int64))
    assert (time_ns - to_ns(moment)) < 366 * 86_400 * 10**9


@settings(deadline=None)
@given(st.integers(-(2**62), 2**62), st.sampled_from(["Y", "D", "s", "ms", "us", "ps", "as"]))
def test_numpy_timestamps_are_exact_or_refused(count: int, unit: str) -> None:
    moment = np.datetime64(count, unit)
    try:
        time_ns = to_ns(moment)
    except InputError:
        return
    if unit in ("ps", "as"):
        assert time_ns * {"ps": 10**3, "as": 10**9}[unit] == count
    elif unit != "Y":
        assert time_ns == count * {"D": 86_400 * 10**9, "s": 10**9, "ms": 10**6, "us": 10**3}[unit]
    assert -(2**63) <= time_ns < 2**63


@settings(deadline=None)
@given(INT64.filter(lambda number: number > -(2**63)), st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kathmandu"]))
def test_pandas_timestamps_keep_their_nanoseconds(time_ns: int, zone: str) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    margin = 86_400 * 10**9
    time_ns = max(min(time_ns, 2**63 - 1 - margin), -(2**63) + 1 + margin)
    assert to_ns(pd.Timestamp(time_ns, tz="UTC").tz_convert(zone)) == time_ns


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_pandas_timestamps_of_every_unit(unit: str) -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    moment = pd.Timestamp("2024-01-31T12:00:00Z").as_unit(unit)
    assert to_ns(moment) == 1_706_702_400_000_000_000


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "given_time",
    [
        True,
        False,
        np.True_,
        1.5,
        np.float64(1.0),
        None,
        b"2024",
        [1],
        (1,),
        {},
        object(),
        timedelta(1),
        np.timedelta64(1, "s"),
    ],
)
def test_what_is_not_a_time(given_time: Any) -> None:
    with pytest.raises(InputError, match="when is"):
        to_ns(given_time, "when")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-01-31",
        "2024-01-31T12:00Z",
        "2024-01-31T12:00:00",
        "2024-01-31T12:00:00 Z",
        "2024-01-31T12:00:00.Z",
        "2024-01-31T12:00:00.1234567890Z",
        "2024-01-31T12:00:00+0100",
        "2024-01-31T12:00:00+24:00",
        "2024-02-30T12:00:00Z",
        "2024-01-31T24:00:00Z",
        "2024-01-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "-2024-01-31T12:00:00Z",
        "1706702400",
    ],
)
def test_what_is_not_rfc_3339(text: str) -> None:
    with pytest.raises(InputError, match="when"):
        to_ns(text, "when")


def test_a_naive_datetime_is_refused() -> None:
    with pytest.raises(InputError, match="when 2024-01-31T12:00:00 has no time zone"):
        to_ns(datetime(2024, 1, 31, 12), "when")


def test_no_time_at_all_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be held"):
        to_ns(np.datetime64("NaT", "us"))
    pd = pytest.importorskip("pandas", reason="needs pandas")
    with pytest.raises(InputError):
        to_ns(pd.NaT)
    with pytest.raises(InputError):
        to_ns(pd.Timestamp("2024-01-31"))


@pytest.mark.parametrize("array", [np.array([1.5]), np.array([1, 2]), np.array(["2024"])], ids=["one", "two", "text"])
def test_an_array_is_not_a_time(array: Any) -> None:
    with pytest.raises(InputError, match="when is a ndarray"):
        to_ns(array, "when")


def test_a_far_pandas_timestamp_is_refused_as_ours() -> None:
    pd = pytest.importorskip("pandas", reason="needs pandas")
    with pytest.raises(InputError, match=r"when .* cannot be held in int64 nanoseconds"):
        to_ns(pd.Timestamp("9999-01-01", tz="UTC"), "when")


@pytest.mark.parametrize("text", ["2024-01-31T12:00:00.٣Z", "2024-01-31T12:00:00+٠١:00"])
def test_digits_are_ascii(text: str) -> None:
    with pytest.raises(InputError, match="is not RFC 3339"):
        to_ns(text)


# ---------------------------------------------------------------- ranges


def test_a_range_left_open_is_all_of_time() -> None:
    assert time_range(None, None) == (MIN_TIME_NS, MAX_TIME_NS - 1)
    assert time_range(5, None) == (5, MAX_TIME_NS - 1)
    assert time_range(None, "1970-01-01T00:00:01Z") == (MIN_TIME_NS, 10**9)


def test_a_bad_end_of_a_range_is_named() -> None:
    with pytest.raises(InputError, match="start"):
        time_range("x", None)
    with pytest.raises(InputError, match="end"):
        time_range(None, "x")


@pytest.mark.parametrize(("start", "end"), [(None, 2**63), (-(2**63) - 1, None), (None, "9999-12-31T23:59:59Z")])
def test_a_range_that_no_message_can_hold_is_refused_as_ours(start: Any, end: Any) -> None:
    with pytest.raises(BTrDBError, match="outside what BTrDB can hold"):
        time_range(start, end)
