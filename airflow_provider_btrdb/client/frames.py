"""Rows of a PEP 249 cursor as pandas or polars frames, with their column names also where there are no rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_btrdb.client.dbapi import Cursor
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import needed
from airflow_provider_btrdb.client.sqltext import Row

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl


def names(cursor: Cursor) -> list[str]:
    """The columns of the statement that was executed last."""
    return [column[0] for column in cursor.description or ()]


def chunks(cursor: Cursor, size: int) -> Iterator[list[Row]]:
    """The rows that are left, `size` at a time; one empty list if there are none. Reads no further than asked."""
    if size < 1:
        raise InputError(f"chunksize is {size} and must be at least 1")
    rows = cursor.fetchmany(size)
    yield rows
    while len(rows) == size and (rows := cursor.fetchmany(size)):
        yield rows


def pandas_frame(
    rows: list[Row],
    columns: list[str],
    *,
    index_col: str | list[str] | None = None,
    coerce_float: bool = True,
    dtype: Any = None,
    dtype_backend: Any = None,
) -> pd.DataFrame:
    """The rows as pandas would read them; the options are those of `pandas.read_sql` that have a meaning here."""
    pandas = needed("pandas", "pandas")
    frame: pd.DataFrame = pandas.DataFrame.from_records(rows, columns=columns, coerce_float=coerce_float)
    if dtype is not None:
        frame = frame.astype(dtype)
    if dtype_backend is not None:
        frame = frame.convert_dtypes(dtype_backend=dtype_backend)
    return frame if index_col is None else frame.set_index(index_col)


def polars_frame(rows: list[Row], columns: list[str], **options: Any) -> pl.DataFrame:
    """The rows in polars; `options` are those of `polars.DataFrame`, such as `schema_overrides`.

    A column without a value in any row has the type Null, unless `schema_overrides` says another.
    """
    polars = needed("polars", "polars")
    frame: pl.DataFrame = polars.DataFrame(
        rows, schema=columns, orient="row", **{"infer_schema_length": None, **options}
    )
    return frame
