"""Is a user's SQL a query, and nothing else? Found out before anything is sent; the server refuses writes once more."""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.sqltext import Piece, bare, pieces

_BEGINS = ("select", "with", "values", "table", "(")
_WRITES = frozenset(
    (  # noqa: SIM905 - a list of forty words is no easier to read
        "alter analyze call checkpoint cluster comment copy create deallocate delete discard do drop execute grant"
        " import insert into listen load lock merge notify prepare refresh reindex reset revoke set truncate unlisten"
        " update vacuum"
    ).split()
)
"""Words that begin a statement which changes something, or that turn a query into one."""


def query_of(sql: str) -> str:
    """The query without what may stand behind it. Raises InputError, one sentence, for what is no single query."""
    query = bare(sql)
    parts = [part for part in pieces(query) if part.kind not in ("blank", "comment")]
    first = parts[0].text.lower()
    if first in _WRITES:
        raise InputError(f"{first.upper()} writes, and an audit only reads")
    if first not in _BEGINS:
        raise InputError(f"begins with {parts[0].text!r} and must be a query: SELECT ...")
    _refuse(parts)
    return query


def _refuse(parts: Sequence[Piece]) -> None:
    depth = 0
    for before, part in zip([None, *parts], parts, strict=False):
        word = part.text.lower()
        if part.kind == "semicolon":
            raise InputError("has more than one statement")
        if part.kind == "native":
            raise InputError(f"has the parameter {part.text}, and nobody gives it a value")
        if part.kind == "code" and word in _WRITES and not (before is not None and before.text == "."):
            raise InputError(f"has {word.upper()}, which writes, and an audit only reads; quote it if it is a name")
        depth += (part.text == "(") - (part.text == ")")
        if depth < 0:
            break
    if depth:
        raise InputError("has parentheses that do not match")
