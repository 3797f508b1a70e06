"""CSV -> rows of a specification, with the line of each."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator
from typing import Any

from airflow_provider_btrdb.catalog.streams import ANNOTATION
from airflow_provider_btrdb.documents.faults import Fault, nearest
from airflow_provider_btrdb.protocol import TAG_KEYS

COLUMNS = ("collection", *TAG_KEYS, "uuid", "generation", "moved_from", "annotations")
"""And `annotations.KEY` for single annotations; `annotations` is one JSON object."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


def read_csv(text: str, source: str, faults: list[Fault]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line and row of each record (RFC 4180, the first one names the columns); an empty cell is not given.

    What is wrong goes to `faults`.
    """
    lines = (found[0] for found in _LINE.finditer(text))  # StringIO would take four times the memory of the text
    reader = csv.reader(lines, strict=True)
    line = 1
    try:
        names = next(reader, [])
        wrong = list(_wrong_names(names, source))
        if wrong:
            faults += wrong
            return
        line = reader.line_num + 1
        for cells in reader:
            place, line = line, reader.line_num + 1
            if not cells:
                continue
            if len(cells) != len(names):
                which = "more" if len(cells) > len(names) else "fewer"
                faults.append(Fault(source, place, "", f"has {which} cells than there are column names"))
                continue
            row = {name: cell for name, cell in zip(names, cells, strict=True) if cell}
            if "annotations" in row:
                row["annotations"] = _object(row["annotations"])
            yield place, row
    except csv.Error as error:
        faults.append(Fault(source, line, "", f"no CSV: {error}"))


def _wrong_names(names: list[str], source: str) -> Iterator[Fault]:
    if not names:
        yield Fault(source, 1, "", "has no line of column names")
    for name in dict.fromkeys(names):
        known = name in COLUMNS or (name.startswith(ANNOTATION) and len(name) > len(ANNOTATION))
        if not known:
            yield Fault(source, 1, name, f"there is no such column{nearest(name, (*COLUMNS, 'annotations.KEY'))}")
        if names.count(name) > 1:
            yield Fault(source, 1, name, "two columns have this name")


def _object(text: str) -> Any:
    """The annotations of a cell; what is no JSON object with different keys stays text and is refused as no mapping."""
    try:
        return json.loads(text, object_pairs_hook=_unlike)
    except (ValueError, RecursionError):
        return text


def _unlike(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found
