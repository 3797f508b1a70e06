"""SQL as text: placeholders of PEP 249 -> BTrDB's `$1 ... $n`, statements that keep the order of columns, their rows.

Pure. Reads as much of PostgreSQL's grammar as it takes to know what is quoted or a comment; the rest of SQL is the
server's to read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from airflow_provider_btrdb.client import codec
from airflow_provider_btrdb.client.errors import InputError, ProtocolError

Kind = Literal["code", "blank", "comment", "quoted", "semicolon", "percent", "format", "pyformat", "native"]
Parameters = Sequence[Any] | Mapping[str, Any]
Row = tuple[Any, ...]


class Piece(NamedTuple):
    """A part of a statement; the texts of all pieces, joined, are the statement."""

    kind: Kind
    text: str


_LETTER = r"[A-Za-z_\u0080-\U0010ffff]"
_BLANK = r"[ \t\n\r\f\v]"
_ESCAPED = r"'(?:[^'\\]|''|\\(?:.|\Z))*+(?:'|\Z)"
_NEXT_LINE = rf"[ \t\f\v]*+(?:--[^\r\n]*+)?[\r\n](?:{_BLANK}|--[^\r\n]*+[\r\n])*+"
"""What may stand between two parts of one string: white space and line comments with a line break."""

# What is quoted ends at the end of the text if it is not closed: the server refuses it, and says so better.
_PIECE = re.compile(
    rf"""
      (?P<blank> {_BLANK}++ )
    | (?P<comment> --[^\r\n]*+ )
    | (?P<opened> /\* )
    | (?P<quoted>
          [eE] {_ESCAPED} (?: {_NEXT_LINE} {_ESCAPED} )*+
        | '(?:[^']|'')*+(?:'|\Z)
        | "(?:[^"]|"")*+(?:"|\Z)
        | \$(?P<tag> (?: {_LETTER} (?: {_LETTER} | [0-9] )*+ )? )\$ .*? (?: \$(?P=tag)\$ | \Z )
      )
    | (?P<word> (?: {_LETTER} | [0-9] ) (?: {_LETTER} | [0-9$] )*+ )
    | (?P<native> \$[0-9]{{1,9}}+ )
    | (?P<percent> %% )
    | (?P<format> %s )
    | (?P<pyformat> %\([^()]++\)s )
    | (?P<semicolon> ; )
    | (?P<other> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_IN_WORD = re.compile(rf"{_LETTER}|[0-9$]")


def pieces(sql: str) -> Iterator[Piece]:
    """The statement in parts: what is quoted, comments, placeholders, and everything else."""
    at = 0
    while match := _PIECE.match(sql, at):
        kind: Any = match.lastgroup
        at = match.end()
        if kind == "opened":
            kind, at = _rest_of_comment(sql, at)
        elif kind in ("word", "other"):
            kind = "code"
        yield Piece(kind, sql[match.start() : at])


def _rest_of_comment(sql: str, at: int) -> tuple[Kind, int]:
    """What was opened before `at`, and where it ends; comments nest, and one that is not closed is nothing to drop."""
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(sql, at)
        if edge is None:
            return "quoted", len(sql)
        depth += 1 if edge.group() == "/*" else -1
        at = edge.end()
    return "comment", at


# ---------------------------------------------------------------- statements


def bare(sql: str) -> str:
    """The statement without the semicolons, comments and white space at its end. Raises InputError if it is empty."""
    parts = list(pieces(sql))
    while parts and parts[-1].kind in ("blank", "comment", "semicolon"):
        parts.pop()
    if not parts:
        raise InputError("the SQL statement is empty")
    return "".join(text for _, text in parts)


def one_text_a_row(query: str) -> str:
    """A query of one column: each row of `query` as the text of a JSON object.

    A server may pass on its rows as objects with keys in any order, each key once; a text keeps the order of the
    columns, and names that occur twice. `q.*` and not `q`, which could be a column.
    """
    return f"SELECT row_to_json(q.*)::text AS r FROM (\n{query}\n) AS q"  # noqa: S608 - the caller's own SQL


def one_empty_row(query: str) -> str:
    """A query of one row with the columns of `query`, all NULL: PostgreSQL names them, and `query` does not run."""
    return f"SELECT q.* FROM (SELECT 1) AS one LEFT JOIN (\n{query}\n) AS q ON false"  # noqa: S608


# ---------------------------------------------------------------- rows


def read_rows(
    page: Sequence[bytes], columns: tuple[str, ...] | None, *, wrapped: bool
) -> tuple[tuple[str, ...] | None, list[Row]]:
    """The columns and rows of a page of JSON objects; `columns` are those of the pages before, None for the first.

    `wrapped` are the rows of `one_text_a_row`. Columns are None as long as there was no row. Raises ProtocolError for
    rows that are not JSON objects, or not all with the same columns.
    """
    try:
        texts = [row["r"] for row in codec.from_sql_rows(page)] if wrapped else [row.decode() for row in page]
        if texts and columns is None:
            columns, _ = _split(_pairs(texts[0]))
        document = f"[{','.join(texts)}]"
        if columns is not None and len(set(columns)) < len(columns):
            rows = [_split(pairs) for pairs in _pairs(document)]
        else:  # in a third of the time
            rows = [(tuple(row), tuple(row.values())) for row in json.loads(document)]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unreadable(str(error)) from None
    if len(rows) != len(page):
        raise _unreadable("one of them is not one object")
    for names, _ in rows:
        if names != columns:
            raise _unreadable(f"one has the columns {names}, the first one {columns}")
    return columns, [values for _, values in rows]


def _pairs(text: str) -> Any:
    """JSON with every object as a tuple of (name, value), which tells it from an array and keeps equal names."""
    return json.loads(text, object_pairs_hook=tuple)


def _split(pairs: Any) -> tuple[tuple[str, ...], Row]:
    if not isinstance(pairs, tuple):
        raise TypeError("one of them is no object")
    return tuple([name for name, _ in pairs]), tuple([_plain(value) for _, value in pairs])


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return {name: _plain(item) for name, item in value}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _unreadable(why: str) -> ProtocolError:
    return ProtocolError(f"the server sent rows that cannot be read: {why}", method="SQLQuery")


# ---------------------------------------------------------------- placeholders


def translate(sql: str, parameters: Parameters | None = None) -> tuple[str, list[str]]:
    """A statement and its parameters as PEP 249 has them -> both as they travel: `$1 ... $n` and texts.

    Placeholders are `%s` or `$n` with a sequence, `%(name)s` with a mapping; of a mapping, entries that the statement
    does not name are left out. With `%s` and `%(name)s`, None becomes NULL and `%%` becomes `%`. Without parameters
    (None or empty), and with `$n`, the statement stays as it is. Raises InputError.
    """
    if parameters is None:
        return sql, []
    if isinstance(parameters, str | bytes) or not isinstance(parameters, Sequence | Mapping):
        raise InputError(f"SQL parameters are a list, a tuple or a mapping, not a {type(parameters).__name__}")
    if not parameters:
        return sql, []
    parts = list(pieces(sql))
    style = _style(parts)
    if isinstance(parameters, Mapping):
        if style in ("format", "native"):
            shown = "%s" if style == "format" else "$1"
            raise InputError(
                f"the statement has placeholders like {shown}, which take a list or a tuple, not a mapping"
            )
        return _with_names(parts, parameters)
    if style == "pyformat":
        raise InputError("the statement has placeholders like %(name)s, which take a mapping, not a sequence")
    if style == "native":
        return sql, _numbered(parts, parameters)
    return _in_order(parts, parameters)


def has_placeholders(sql: str) -> bool:
    """Whether a placeholder of any style stands outside of quotes and comments."""
    return _style(list(pieces(sql)), refuse_mixed=False) is not None


def _style(parts: Sequence[Piece], refuse_mixed: bool = True) -> str | None:
    first: dict[str, str] = {}
    for kind, text in parts:
        if kind in ("format", "pyformat", "native"):
            first.setdefault(kind, text)
    if len(first) > 1 and refuse_mixed:
        raise InputError(f"the statement mixes the placeholders {' and '.join(first.values())}: keep to one style")
    return next(iter(first), None)


def _in_order(parts: Sequence[Piece], values: Sequence[Any]) -> tuple[str, list[str]]:
    wanted = sum(kind == "format" for kind, _ in parts)
    if wanted != len(values):
        raise InputError(f"the statement has {_counted(wanted, '%s')} and {_counted(len(values), 'parameter')} came")
    texts = [_text(value, f"number {number}") for number, value in enumerate(values, start=1)]
    sent = [text for text in texts if text is not None]
    numbers = iter(range(1, len(sent) + 1))
    slots = iter(["NULL" if text is None else f"${next(numbers)}" for text in texts])
    return _filled(parts, [next(slots) if kind == "format" else None for kind, _ in parts]), sent


def _with_names(parts: Sequence[Piece], values: Mapping[str, Any]) -> tuple[str, list[str]]:
    slots: dict[str, str] = {}
    sent: list[str] = []
    for kind, placeholder in parts:
        name = placeholder[2:-2]
        if kind != "pyformat" or name in slots:
            continue
        if name not in values:
            raise InputError(
                f"the statement has {placeholder} and no parameter of that name came, only {_listed(values)}"
            )
        text = _text(values[name], repr(name))
        if text is not None:
            sent.append(text)
        slots[name] = "NULL" if text is None else f"${len(sent)}"
    return _filled(parts, [slots[text[2:-2]] if kind == "pyformat" else None for kind, text in parts]), sent


def _numbered(parts: Sequence[Piece], values: Sequence[Any]) -> list[str]:
    used = {int(text[1:]) for kind, text in parts if kind == "native"}
    if 0 in used:
        raise InputError("the statement has $0, and parameters are counted from $1")
    if max(used) > len(values):
        raise InputError(f"the statement has ${max(used)} and {_counted(len(values), 'parameter')} came")
    for number, value in enumerate(values, start=1):
        if number not in used:
            raise InputError(f"{_counted(len(values), 'parameter')} came and the statement has no ${number}")
        if value is None:
            raise InputError(
                f"SQL parameter ${number} is None, which cannot travel: write NULL in the statement, or %s"
            )
    return [_text(value, f"${number}") or "" for number, value in enumerate(values, start=1)]


def _filled(parts: Sequence[Piece], slots: Sequence[str | None]) -> str:
    """The parts, with `%%` as `%` and the placeholders replaced, apart from the words beside them (`LIMIT%s`)."""
    out: list[str] = []
    for at, (slot, (_, text)) in enumerate(zip(slots, parts, strict=True)):
        if slot is None:
            out.append(text.replace("%%", "%"))
            continue
        if out and _IN_WORD.match(out[-1][-1:]):
            out.append(" ")
        out.append(slot)
        if at + 1 < len(parts) and _IN_WORD.match(parts[at + 1].text):
            out.append(" ")
    return "".join(out)


def _text(value: Any, which: str) -> str | None:
    if value is None:
        return None
    try:
        return codec.to_sql_parameters([value])[0]
    except InputError:
        raise InputError(f"SQL parameter {which} is a {type(value).__name__}, which has no text form") from None


def _counted(count: int, word: str) -> str:
    return f"{count or 'no'} {word}{'' if count == 1 or word == '%s' else 's'}"


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(map(str, names))
