"""Entries of a specification -> rows: lists and ranges written out, Jinja in string values rendered.

Jinja sees values after parsing, never the text of a file, so no value can change what a file means. Its sandbox has no
way out to Python's insides, and a name that nobody gave is an error.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from airflow_provider_btrdb.documents.faults import nearest
from airflow_provider_btrdb.documents.problems import not_text

MOST_ROWS = 10_000_000
"""Of one entry: more is a mistake in a range."""

_RANGE = re.compile(r"(\d{1,12})\.\.(\d{1,12})", re.ASCII)
_MARKS = ("{{", "{%", "{#")


class TemplateFault(Exception):
    """A value cannot be rendered, or a list cannot be written out; `where` leads to it inside of the entry."""

    def __init__(self, where: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.where = where


class ValueFault(TemplateFault):
    """A value of a list is none that a template can show as it was written."""

    def __init__(self, where: tuple[str | int, ...], message: str, value: Any) -> None:
        super().__init__(where, message)
        self.value = value


class Renderer:
    """Renders string values; each text is compiled once."""

    def __init__(self) -> None:
        self._environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        self._compiled: dict[str, jinja2.Template] = {}

    def __call__(self, value: Any, names: Mapping[str, Any], where: tuple[str | int, ...] = ()) -> Any:
        """The same data with its texts rendered; keys stay as they are. Raises TemplateFault."""
        if isinstance(value, str):
            return self._text(value, names, where) if any(mark in value for mark in _MARKS) else value
        if isinstance(value, Mapping):
            return {key: self(part, names, (*where, key)) for key, part in value.items()}
        if isinstance(value, list):
            return [self(part, names, (*where, number)) for number, part in enumerate(value)]
        return value

    def _text(self, text: str, names: Mapping[str, Any], where: tuple[str | int, ...]) -> str:
        try:
            template = self._compiled.get(text)
            if template is None:
                template = self._compiled[text] = self._environment.from_string(text)
            return template.render(names)
        except jinja2.UndefinedError as error:
            words = re.match(r"'(\w+)' is undefined", str(error))
            hint = nearest(words[1], names) if words else ""
            raise TemplateFault(where, f"{text!r}: {error}{hint}") from None
        except Exception as error:  # whatever a filter, or the code that Jinja makes of a text, may raise
            raise TemplateFault(where, f"{text!r} cannot be rendered: {error}") from None


def combinations(for_each: Any, render: Renderer, params: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """`{"bus": "1..118", "channel": ["L1MAG", "L1ANG"]}` -> the names and values of each row. Raises TemplateFault.

    A range includes both ends and keeps leading zeros ("01..12": two digits). The last name changes fastest.
    """
    if not isinstance(for_each, Mapping) or not for_each:
        raise TemplateFault((), f"is {for_each!r} and must map names to lists or ranges such as 1..118")
    lists = {name: _listed(name, render(items, params, (name,))) for name, items in for_each.items()}
    count = math.prod(map(len, lists.values()))
    if count > MOST_ROWS:
        raise TemplateFault((), f"gives {count} streams; more than {MOST_ROWS} are a mistake")
    for values in itertools.product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


def _listed(name: Any, items: Any) -> Sequence[Any]:
    if not isinstance(name, str) or not name.isidentifier():
        raise TemplateFault((name,), f"{name!r} is no name that a template can use")
    if isinstance(items, str):
        match = _RANGE.fullmatch(items)
        if match is not None and int(match[1]) <= int(match[2]):
            first, last = match[1], match[2]
            numbers = range(int(first), int(last) + 1)
            if len(numbers) > MOST_ROWS:  # before they are written out
                raise TemplateFault((name,), f"has {len(numbers)} values; more than {MOST_ROWS} are a mistake")
            if first.startswith("0") and len(first) > 1:
                return [str(number).zfill(len(first)) for number in numbers]
            return numbers
    if isinstance(items, list) and items:
        _check_values((name,), items)
        return items
    raise TemplateFault((name,), f"is {items!r} and must be a list that is not empty, or a range such as 1..118")


def _check_values(where: tuple[str | int, ...], items: Sequence[Any]) -> None:
    """Text and whole numbers, and lists of them: other values would be shown in another way than they were written."""
    for number, item in enumerate(items):
        if isinstance(item, list):
            _check_values((*where, number), item)
        elif isinstance(item, bool) or not isinstance(item, str | int):
            raise ValueFault((*where, number), not_text(item), item)
