"""Laws of SQL text: what is quoted is never touched, and every value lands at its placeholder."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client import sqltext
from airflow_provider_btrdb.client.errors import InputError

# Text that looks like what it must not be taken for.
INSIDE = st.lists(
    st.sampled_from(
        ["%s", "%(a)s", "$1", "%%", "--", "/*", "*/", "'", '"', "$$", "$t$", ";", "\\", "\n", "E", "a", " "]
    ),
    max_size=8,
).map("".join)
BALANCED = st.recursive(
    INSIDE.map(lambda text: text.replace("*", "").replace("/", "")),
    lambda inner: st.tuples(inner, inner).map(lambda two: f"{two[0]}/*{two[1]}*/"),
    max_leaves=4,
)

QUOTED = st.one_of(
    INSIDE.map(lambda text: "'" + text.replace("'", "''") + "'"),
    INSIDE.map(lambda text: '"' + text.replace('"', '""') + '"'),
    INSIDE.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    INSIDE.map(lambda text: "e'" + text.replace("\\", "\\\\").replace("'", "''") + "'"),
    INSIDE.map(lambda text: "E'a'\n'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
    INSIDE.map(lambda text: "$$" + text.replace("$", "") + "$$"),
    INSIDE.map(lambda text: "$Tag_1$" + text + "$Tag_1$"),
    INSIDE.map(lambda text: "--" + text.replace("\n", "") + "\n"),
    BALANCED.map(lambda text: f"/*{text}*/"),
    st.sampled_from(["name$1", "n$t$", "\u00fcn\u00ef$1", "_$$"]),
)
PLAIN = st.sampled_from(
    ["SELECT", "a", ",", "(", ")", "::text", "1.5", "=", "<>", "-", "*", "/", "E", "->", "[", "%", ";"]
)
SLOT = object()
"""Where a placeholder stands."""
PARTS = (
    st.integers(0, 6)
    .flatmap(
        lambda slots: st.lists(st.lists(st.one_of(QUOTED, PLAIN), max_size=3), min_size=slots + 1, max_size=slots + 1)
    )
    .map(lambda groups: [part for group in groups for part in (*group, SLOT)][:-1])
)
"""Statements of up to six slots, with anything before, between and after them."""
VALUE = st.one_of(st.none(), st.text(max_size=3), st.integers())


def joined(parts: list[Any], slots: list[str]) -> str:
    """The parts as one statement, a blank between any two of them; the slots are filled in order."""
    rest = iter(slots)
    return " ".join(next(rest) if part is SLOT else part for part in parts)


def kept(part: Any) -> Any:
    """What an even number of percent signs becomes where parameters are given."""
    return part if part is SLOT else part.replace("%%", "%")


@settings(deadline=None)
@given(PARTS, st.data())
def test_the_nth_value_lands_at_the_nth_placeholder(parts: list[Any], data: st.DataObject) -> None:
    count = parts.count(SLOT)
    values = data.draw(st.lists(VALUE, min_size=count, max_size=count))
    sql = joined(parts, ["%s"] * count)
    if not count:
        assert sqltext.translate(sql, values) == (sql, [])
        return
    sent, texts = sqltext.translate(sql, values)
    numbers = iter(range(1, count + 1))
    expected = ["NULL" if value is None else f"${next(numbers)}" for value in values]
    assert sent == joined([kept(part) for part in parts], expected)
    assert texts == [str(value) for value in values if value is not None]


@settings(deadline=None)
@given(PARTS, st.data())
def test_a_name_is_one_parameter_wherever_it_stands(parts: list[Any], data: st.DataObject) -> None:
    count = parts.count(SLOT)
    names = data.draw(st.lists(st.sampled_from("abc"), min_size=count, max_size=count))
    values = data.draw(st.fixed_dictionaries(dict.fromkeys("abc", VALUE)))
    sent, texts = sqltext.translate(joined(parts, [f"%({name})s" for name in names]), values)
    order = [name for name in dict.fromkeys(names) if values[name] is not None]
    expected = [f"${order.index(name) + 1}" if name in order else "NULL" for name in names]
    assert sent == joined([kept(part) for part in parts], expected)
    assert texts == [str(values[name]) for name in order]


@settings(deadline=None)
@given(PARTS)
def test_native_placeholders_stay_with_the_whole_statement(parts: list[Any]) -> None:
    count = parts.count(SLOT)
    values = [f"v{number}" for number in range(count)]
    sql = joined(parts, [f"${number}" for number in range(count, 0, -1)])
    assert sqltext.translate(sql, values) == (sql, values)


@settings(deadline=None)
@given(PARTS, st.integers(0, 20))
def test_another_number_of_values_is_refused(parts: list[Any], given_: int) -> None:
    count = parts.count(SLOT)
    if given_ in (0, count):
        return
    for style in ("%s", "native"):
        slots = [f"${number}" for number in range(1, count + 1)] if style == "native" else ["%s"] * count
        try:
            sqltext.translate(joined(parts, slots), ["x"] * given_)
        except InputError:
            continue
        raise AssertionError(f"{given_} values were taken for {count} placeholders")


@settings(deadline=None)
@given(st.one_of(st.text(), st.lists(st.one_of(INSIDE, QUOTED, PLAIN)).map("".join)))
@example("E'\\")
@example("$a$b$")
@example("%(")
@example("/*/")
def test_the_pieces_of_any_text_are_the_text(sql: str) -> None:
    parts = list(sqltext.pieces(sql))
    assert "".join(text for _, text in parts) == sql
    assert all(text for _, text in parts)


@settings(deadline=None)
@given(PARTS, st.lists(st.sampled_from([";", " ", "\n", "-- %s ;\n", "/* ; /* ' */ */"]), max_size=6).map("".join))
def test_only_what_follows_the_statement_is_stripped(parts: list[Any], after: str) -> None:
    sql = joined([*parts, "x"], ["%s"] * parts.count(SLOT))
    assert sqltext.bare(sql + after) == sql
    assert sqltext.bare(sqltext.bare(sql)) == sql


@settings(deadline=None)
@given(PARTS)
def test_placeholders_are_found_outside_of_quotes_only(parts: list[Any]) -> None:
    assert sqltext.has_placeholders(joined(parts, ["$1"] * parts.count(SLOT))) is (SLOT in parts)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["a", "%s", "(", "1", "$", "_", " ", "\u00fc"]), max_size=12).map("".join))
def test_a_placeholder_never_joins_the_word_beside_it(sql: str) -> None:
    """Read again, the statement that is sent has exactly the placeholders that were asked for."""
    count = sql.count("%s")
    if not count or re.search(r"\$[0-9]|\$[a_\u00fc]*[1a_\u00fc]*\$", sql):
        return
    sent, _ = sqltext.translate(sql, ["x"] * count)
    found = [text for kind, text in sqltext.pieces(sent) if kind == "native"]
    assert found == [f"${number}" for number in range(1, count + 1)]
