"""Placeholders, statements and rows, case by case."""

from __future__ import annotations

import json
from collections import UserDict, UserList
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_btrdb.client import sqltext
from airflow_provider_btrdb.client.errors import InputError, ProtocolError

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")


@pytest.mark.parametrize(
    ("sql", "parameters", "expected"),
    [
        ("a = %s AND b = %s", ["x", "y"], ("a = $1 AND b = $2", ["x", "y"])),
        ("a = %s AND b = %s", ("x", 2), ("a = $1 AND b = $2", ["x", "2"])),
        ("a = %s", UserList(["x"]), ("a = $1", ["x"])),
        ("a = %(x)s AND b = %(y)s", {"y": "2", "x": "1"}, ("a = $1 AND b = $2", ["1", "2"])),
        ("a = %(x)s OR b = %(x)s OR c = %(y)s", {"x": "1", "y": "2"}, ("a = $1 OR b = $1 OR c = $2", ["1", "2"])),
        ("a = %(two words)s", UserDict({"two words": "1"}), ("a = $1", ["1"])),
        ("b = $2 AND a = $1 OR c = $2", ["x", "y"], ("b = $2 AND a = $1 OR c = $2", ["x", "y"])),
        # left out: entries of a mapping that the statement does not name, as when several statements share one
        ("a = %(x)s", {"x": "1", "y": object()}, ("a = $1", ["1"])),
        ("SELECT 1", {"x": "1"}, ("SELECT 1", [])),
        # NULL
        ("a IS %s OR b = %s OR c = %s", [None, "x", None], ("a IS NULL OR b = $1 OR c = NULL", ["x"])),
        ("a IS %(n)s OR b = %(x)s OR %(n)s", {"n": None, "x": "x"}, ("a IS NULL OR b = $1 OR NULL", ["x"])),
        # percent signs
        ("a LIKE 'x%%' AND b %% 2 = %s", ["1"], ("a LIKE 'x%' AND b % 2 = $1", ["1"])),
        ("a LIKE 'x%%s%s%' AND b = %s", ["1"], ("a LIKE 'x%s%s%' AND b = $1", ["1"])),
        ("a LIKE '%%%%' AND %%s%s", ["1"], ("a LIKE '%%' AND %s $1", ["1"])),
        ("a %% 2 = %(x)s", {"x": 1}, ("a % 2 = $1", ["1"])),
        ("a %% 2 = 0", {"x": 1}, ("a % 2 = 0", [])),
        ("a %% 2 = $1", ["1"], ("a %% 2 = $1", ["1"])),
        ("a LIKE '%%' AND b %% %s", None, ("a LIKE '%%' AND b %% %s", [])),
        ("a LIKE '%%' AND b %% %s", [], ("a LIKE '%%' AND b %% %s", [])),
        ("a LIKE '%%' AND b %% %s", {}, ("a LIKE '%%' AND b %% %s", [])),
        ("a % 2 = %s AND %d", [1], ("a % 2 = $1 AND %d", ["1"])),
        # beside a word
        ("LIMIT%s", [1], ("LIMIT $1", ["1"])),
        ("LIMIT%s", [None], ("LIMIT NULL", [])),
        ("a=%sAND b=%(no)x", [1], ("a=$1 AND b=%(no)x", ["1"])),
        ("a=%(x)sAND b", {"x": 1}, ("a=$1 AND b", ["1"])),
        ("%s%s::text[%s]", [1, None, 3], ("$1 NULL::text[$2]", ["1", "3"])),
        ("-%s(%s)", [1, 2], ("-$1($2)", ["1", "2"])),
    ],
)
def test_placeholders(sql: str, parameters: Any, expected: tuple[str, list[str]]) -> None:
    assert sqltext.translate(sql, parameters) == expected


@pytest.mark.parametrize(
    "quoted",
    [
        "'%s'",
        "'it''s %s'",
        "'back\\'",
        "'a' '%s'",
        "E'it\\'s %s'",
        "e'\\\\'",
        "E'it''s %s'",
        "E'a'\n'\\' %s'",
        "E'a' -- %s\n -- %s\n  '\\' %s'",
        "U&'d\\0061t %s'",
        "B'1'",
        '"%s"',
        '"a ""%s"" b"',
        'U&"d\\0061t %s"',
        "$$%s$$",
        "$$a$b$ '%s$$",
        "$tag$%s $$ %s$tag$",
        "$tag$%s $tag1$ %s$tag$",
        "$ünï_1$%s$ünï_1$",
        "-- %s ' \n",
        "--\r",
        "/* %s */",
        "/* /* %s */ ' %s */",
        "/*/**/%s*/",
        "/**/",
        "/* -- */",
        "name$1",
        "ünï$1",
        "e",
        "fooE'\\'",
        "a$b$",
    ],
)
def test_what_is_quoted_or_a_comment_is_left_alone(quoted: str) -> None:
    sent, texts = sqltext.translate(f"a = %s {quoted} = %s", ["x", "y"])
    assert sent == f"a = $1 {quoted} = $2"
    assert texts == ["x", "y"]


@pytest.mark.parametrize(
    "opened",
    ["'", "'%s", "E'\\", "E'\\'", "E'%s\\", '"', '"%s', "$$", "$a$ $$ $A$ %s", "/*", "/* /* */ %s", "--", "-- %s"],
)
def test_what_is_not_closed_reaches_to_the_end(opened: str) -> None:
    assert sqltext.translate(f"%s {opened} %s", ["x"])[0] == f"$1 {opened} %s"


@pytest.mark.parametrize(
    ("sql", "parameters", "sentence"),
    [
        ("%s AND %(x)s", ["1"], r"mixes the placeholders %s and %\(x\)s: keep to one style"),
        ("$1 AND %s", ["1"], r"mixes the placeholders \$1 and %s"),
        ("$1 AND %(x)s", {"x": 1}, r"mixes the placeholders \$1 and %\(x\)s"),
        ("%s", {"x": 1}, "placeholders like %s, which take a list or a tuple, not a mapping"),
        ("$1", {"x": 1}, r"placeholders like \$1, which take a list or a tuple, not a mapping"),
        ("%(x)s", ["1"], r"placeholders like %\(name\)s, which take a mapping, not a sequence"),
        ("%s", ["1", "2"], "the statement has 1 %s and 2 parameters came"),
        ("%s %s", ["1"], "the statement has 2 %s and 1 parameter came"),
        ("'%s'", ["1"], "the statement has no %s and 1 parameter came"),
        ("%(x)s", {"y": 1, "z": 2}, r"has %\(x\)s and no parameter of that name came, only y, z"),
        ("$2 $1 $3", ["1", "2"], r"the statement has \$3 and 2 parameters came"),
        ("$12345678901", ["1"], r"the statement has \$123456789 and 1 parameter came"),
        ("$2", ["1", "2"], r"2 parameters came and the statement has no \$1"),
        ("$1", ["1", "2"], r"2 parameters came and the statement has no \$2"),
        ("$0 $1", ["1"], r"has \$0, and parameters are counted from \$1"),
        ("$1 $2", ["1", None], r"SQL parameter \$2 is None, which cannot travel: write NULL in the statement, or %s"),
        ("$1 $2", ["1", b"x"], r"SQL parameter \$2 is a bytes, which has no text form"),
        ("%s %s", [None, b"x"], "SQL parameter number 2 is a bytes, which has no text form"),
        ("%(x)s", {"x": []}, "SQL parameter 'x' is a list, which has no text form"),
        ("%s", "1", "a list, a tuple or a mapping, not a str"),
        ("%s", "", "a list, a tuple or a mapping, not a str"),
        ("%s", b"1", "a list, a tuple or a mapping, not a bytes"),
        ("%s", 5, "a list, a tuple or a mapping, not a int"),
        ("%s", 0, "a list, a tuple or a mapping, not a int"),
        ("%s", {"1"}, "a list, a tuple or a mapping, not a set"),
    ],
)
def test_parameters_that_do_not_fit_are_one_sentence(sql: str, parameters: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        sqltext.translate(sql, parameters)
    assert "\n" not in str(caught.value)


def test_values_travel_as_the_client_sends_them() -> None:
    values = ["", 1, True, False, 1.5, Decimal("0.10"), UUID_, date(2024, 1, 31), datetime(2024, 1, 31, tzinfo=UTC)]
    expected = [
        "", "1", "true", "false", "1.5", "0.10", str(UUID_), "2024-01-31", "2024-01-31T00:00:00+00:00",
    ]  # fmt: skip
    names = {f"p{number}": value for number, value in enumerate(values)}
    assert sqltext.translate(" ".join(["%s"] * 9), values)[1] == expected
    assert sqltext.translate(" ".join(f"%({name})s" for name in names), names)[1] == expected
    assert sqltext.translate(" ".join(f"${number}" for number in range(1, 10)), values)[1] == expected


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("SELECT %s", True),
        ("SELECT %(x)s", True),
        ("SELECT $1", True),
        ("SELECT $1 %s", True),
        ("SELECT '%s', a$1 -- $1", False),
        ("SELECT a %% 2", False),
    ],
)
def test_has_placeholders(sql: str, found: bool) -> None:
    assert sqltext.has_placeholders(sql) is found


# ---------------------------------------------------------------- statements


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT 1"),
        ("SELECT 1;", "SELECT 1"),
        ("SELECT 1 ; ;\n\t;", "SELECT 1"),
        ("SELECT 1; -- done", "SELECT 1"),
        ("SELECT 1 -- ;\n", "SELECT 1"),
        ("SELECT 1 /* /* ; */ ; */ ;", "SELECT 1"),
        ("  SELECT ';';", "  SELECT ';'"),
        ("SELECT $$;$$;", "SELECT $$;$$"),
        ("SELECT 1; SELECT 2;", "SELECT 1; SELECT 2"),
        ("SELECT 'open;  ", "SELECT 'open;  "),
        ("SELECT 1 /* open; ", "SELECT 1 /* open; "),
        ("SELECT a\u00a0", "SELECT a\u00a0"),
    ],
)
def test_bare(sql: str, expected: str) -> None:
    assert sqltext.bare(sql) == expected


@pytest.mark.parametrize("sql", ["", "  \n", ";", "-- nothing", "/* nothing */ ;;"])
def test_an_empty_statement_is_refused(sql: str) -> None:
    with pytest.raises(InputError, match="the SQL statement is empty"):
        sqltext.bare(sql)


# ---------------------------------------------------------------- rows


def plain(*rows: str) -> list[bytes]:
    return [row.encode() for row in rows]


def wrapped(*rows: str) -> list[bytes]:
    return [json.dumps({"r": row}).encode() for row in rows]


@pytest.mark.parametrize(("rows", "is_wrapped"), [(plain, False), (wrapped, True)])
def test_rows_keep_order_names_that_occur_twice_and_types(rows: Any, is_wrapped: bool) -> None:
    page = rows('{"z": 1, "a": 1.5, "z": {"k": null, "e": {}}, "l": [[1, {"k": []}]], "n": null, "t": true}')
    assert sqltext.read_rows(page, None, wrapped=is_wrapped) == (
        ("z", "a", "z", "l", "n", "t"),
        [(1, 1.5, {"k": None, "e": {}}, [[1, {"k": []}]], None, True)],
    )
    page = rows('{"z": 9223372036854775807, "a": {"k": "ü"}}', '{"z": -1, "a": {}}')
    columns, read = sqltext.read_rows(page, None, wrapped=is_wrapped)
    assert (columns, read) == (("z", "a"), [(9223372036854775807, {"k": "ü"}), (-1, {})])
    assert [type(value) for value in read[0]] == [int, dict]


def test_pages_without_rows_and_rows_without_columns() -> None:
    assert sqltext.read_rows([], None, wrapped=True) == (None, [])
    assert sqltext.read_rows([], ("a",), wrapped=True) == (("a",), [])
    assert sqltext.read_rows(wrapped("{}", "{}"), None, wrapped=True) == ((), [(), ()])


@pytest.mark.parametrize("columns", [None, ("a",), ("a", "a")])
@pytest.mark.parametrize(
    "page",
    [
        plain("", "{}"),
        plain('{"a": 1'),
        plain('{"a": 1}, {"a": 2}'),
        plain('[["a", 1]]'),
        plain('["a"]'),
        plain("[]"),
        plain("null"),
        plain("1"),
        plain('"a"'),
        [b'{"a": "\xff"}'],
        plain('{"a": 1}', '{"b": 2}'),
        plain('{"a": 1}', '{"a": 1, "b": 2}'),
        plain('{"a": ' + "9" * 5000 + "}"),
    ],
)
def test_rows_that_cannot_be_read(page: list[bytes], columns: Any) -> None:
    with pytest.raises(ProtocolError, match="cannot be read") as caught:
        sqltext.read_rows(page, columns, wrapped=False)
    assert caught.value.method == "SQLQuery"


@pytest.mark.parametrize("row", [b'{"x": "{}"}', b'{"r": null}', b'{"r": 1}', b'{"r": {}}', b"[]", b"1", b'{"r": "x"}'])
def test_wrapped_rows_that_cannot_be_read(row: bytes) -> None:
    with pytest.raises(ProtocolError, match="row"):
        sqltext.read_rows([row], None, wrapped=True)


def test_the_columns_of_the_first_page_hold_for_all() -> None:
    with pytest.raises(ProtocolError, match="one has the columns"):
        sqltext.read_rows(plain('{"a": 1, "a": 2}', '{"a": 1}'), None, wrapped=False)
    with pytest.raises(ProtocolError, match="one has the columns"):
        sqltext.read_rows(plain('{"b": 1}'), ("a",), wrapped=False)
