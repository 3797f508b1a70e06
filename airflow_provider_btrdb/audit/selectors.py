"""Which streams a check looks at, as values: a test of a stream here, and the same as SQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from airflow_provider_btrdb.audit.fields import Seen, Sql, value_of
from airflow_provider_btrdb.audit.patterns import glob_pattern, glob_prefix, in_postgres

Takes: TypeAlias = Callable[[Seen], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one field."""

    field: str
    kind: Literal["equals", "has", "matches"]
    """`equals` one of the texts; `has` text at all (an empty text is none); `matches`: `re.search` with the text."""
    texts: tuple[str, ...] = ()
    negated: bool = False
    """The opposite; a stream that has nothing at the field then passes."""

    def takes(self) -> Takes:
        """The test of a stream."""
        value, wanted = value_of(self.field), not self.negated
        if self.kind == "has":
            return lambda seen: bool(value(seen)) is wanted
        if self.kind == "equals":
            texts = frozenset(self.texts)
            return lambda seen: (value(seen) in texts) is wanted
        search = re.compile(self.texts[0]).search

        def matched(seen: Seen) -> bool:
            text = value(seen)
            return (text is not None and search(text) is not None) is wanted

        return matched

    def sql(self, sql: Sql) -> str | None:
        """The same; None where SQL may see it otherwise. Never NULL."""
        value = sql.value(self.field)
        if self.kind == "has":
            test = f"coalesce({value} <> '', false)"
        elif self.kind == "equals":
            test = f"coalesce({value} = ANY({sql.any_of(self.texts)}), false)"
        else:
            pattern = in_postgres(self.texts[0])
            if pattern is None:
                return None
            test = f"coalesce({value} ~ {sql.text(pattern)}, false)"
        return f"NOT {test}" if self.negated else test


@dataclass(frozen=True, slots=True)
class Selector:
    """Streams that meet everything of this: by their collection, by tests of their fields, and by queries."""

    prefixes: tuple[str, ...] = ()
    """The collection begins with each of these texts."""
    globs: tuple[str, ...] = ()
    """The collection is like each of these; see `patterns.glob_pattern`."""
    conditions: tuple[Condition, ...] = ()
    queries: tuple[str, ...] = ()
    """The stream's uuid is in the column `uuid` of each of these queries."""

    def and_(self, other: Selector) -> Selector:
        """What both take."""
        return Selector(
            prefixes=tuple(dict.fromkeys((*self.prefixes, *other.prefixes))),
            globs=tuple(dict.fromkeys((*self.globs, *other.globs))),
            conditions=tuple(dict.fromkeys((*self.conditions, *other.conditions))),
            queries=tuple(dict.fromkeys((*self.queries, *other.queries))),
        )

    @property
    def beginning(self) -> str:
        """What every selected collection begins with: the longest such text that is known."""
        return max(("", *self.prefixes, *map(glob_prefix, self.globs)), key=len)

    @property
    def of_collections(self) -> Selector:
        """Only what is asked of the collection."""
        return replace(self, conditions=(), queries=())

    @property
    def is_prefix(self) -> bool:
        """Does it take everything below `beginning`?"""
        nested = all(self.beginning.startswith(prefix) for prefix in self.prefixes)
        return nested and not (self.globs or self.conditions or self.queries)

    def takes(self, named: Callable[[str], frozenset[bytes]]) -> Takes:
        """The test of a stream; `named` gives the uuids of a query, 16 bytes each."""
        tests = [
            *map(_begins, self.prefixes),
            *map(_like, self.globs),
            *(condition.takes() for condition in self.conditions),
            *(_is_in(named(query)) for query in self.queries),
        ]
        return _all_of(tests)

    def sql(self, sql: Sql) -> str | None:
        """The same; None where SQL may see it otherwise. Never NULL."""
        tests: list[str | None] = [f"starts_with(collection, {sql.text(prefix)})" for prefix in self.prefixes]
        tests += [f"collection ~ {sql.text(glob_pattern(glob, '$'))}" for glob in self.globs]
        tests += [condition.sql(sql) for condition in self.conditions]
        tests += [f"uuid::text IN {sql.named(query)}" for query in self.queries]
        known = [test for test in tests if test is not None]
        if len(known) < len(tests):
            return None
        return " AND ".join(known) if known else "true"


def _begins(prefix: str) -> Takes:
    return lambda seen: seen.collection.startswith(prefix)


def _like(glob: str) -> Takes:
    match = re.compile(glob_pattern(glob, r"\Z")).match
    return lambda seen: match(seen.collection) is not None


def _is_in(uuids: frozenset[bytes]) -> Takes:
    return lambda seen: seen.uuid in uuids


def _all_of(tests: Iterable[Takes]) -> Takes:
    """Passes what passes every test."""
    several = tuple(tests)
    if len(several) == 0:
        return lambda _: True
    if len(several) == 1:
        return several[0]
    return lambda seen: all(test(seen) for test in several)
