"""Checks of tags and annotations, as values: which stream breaks which rule. Makes no calls."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.protocol import TAG_KEYS

if TYPE_CHECKING:
    from uuid import UUID

    from airflow_provider_btrdb.client import Stream

CHECKS = ("present", "absent", "one_of", "pattern", "unique")


class Finding(NamedTuple):
    """One stream that breaks one check."""

    stream: str
    """`collection/name`"""
    uuid: UUID
    key: str
    """`unit`, or for annotations `annotations.KEY`"""
    check: str
    value: str | None
    """What the stream has; None where it has nothing."""

    def __str__(self) -> str:
        shown = "is missing" if self.value is None else f"is {self.value!r}"
        return f"{self.stream}: {self.key} {shown} ({self.check})"


@dataclass(frozen=True, slots=True)
class Rule:
    """One check of one key."""

    kind: str
    """`tags` or `annotations`"""
    key: str
    check: str
    wanted: Any

    @property
    def label(self) -> str:
        """The key as findings show it."""
        return self.key if self.kind == "tags" else f"annotations.{self.key}"

    def broken_by(self, value: str | None) -> bool:
        """Does this value break the rule? `unique` is not a matter of one value. Only `present` minds an absent one."""
        if self.check == "present":
            return not value
        if value is None or self.check == "unique":
            return False
        if self.check == "absent":
            return True
        return value not in self.wanted if self.check == "one_of" else self.wanted.fullmatch(value) is None


def parse_rules(tags: Any, annotations: Any) -> list[Rule]:
    """Mappings of a key to its checks -> rules. Raises InputError naming what is misspelt.

    `{"unit": {"present": True, "one_of": ["volts", "amps"]}, "name": {"pattern": "L[123]MAG", "unique": True}}`:
    `present` (has text that is not empty) and `absent` are True; `one_of` is a list; `pattern` is a regular expression
    for the whole text; `unique` compares the streams of one collection. Checks other than `present` pass for a stream
    that lacks the key; an empty tag counts as lacking.
    """
    rules = [*_rules("tags", tags), *_rules("annotations", annotations)]
    if not rules:
        raise InputError("there is nothing to check: give tags or annotations")
    return rules


def _rules(kind: str, given: Any) -> Iterator[Rule]:
    if not isinstance(given, Mapping):
        raise InputError(f"{kind} is {given!r} and must map keys to checks")
    for key, checks in given.items():
        if kind == "tags" and key not in TAG_KEYS:
            raise InputError(f"there is no tag {key!r}; tags are {', '.join(TAG_KEYS)}, all else are annotations")
        if not isinstance(checks, Mapping) or not checks:
            raise InputError(f"{kind}: {key!r} has {checks!r} and needs checks, such as {{'present': True}}")
        for check, wanted in checks.items():
            yield Rule(kind, key, check, _parsed(f"{kind}: {key!r}", check, wanted))


def _parsed(where: str, check: Any, wanted: Any) -> Any:
    if check not in CHECKS:
        near = difflib.get_close_matches(str(check), CHECKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(CHECKS)}"
        raise InputError(f"{where}: unknown check {check!r}; {hint}")
    if check == "one_of":
        if isinstance(wanted, str) or not isinstance(wanted, Iterable):
            raise InputError(f"{where}: one_of is {wanted!r} and must be a list of texts")
        return frozenset(wanted)
    if check == "pattern":
        try:
            return re.compile(wanted)
        except (re.error, TypeError) as error:
            raise InputError(f"{where}: {wanted!r} is no regular expression: {error}") from None
    if wanted is not True:
        raise InputError(f"{where}: {check} is {wanted!r} and can only be True")
    return True


class MetadataChecks:
    """Fed stream by stream, so that a catalogue of any size can be checked; keeps what is unique and the findings."""

    def __init__(self, rules: Iterable[Rule], keep: int) -> None:
        self._rules = list(rules)
        self._keep = keep
        self._first: dict[tuple[Rule, str, str], bool] = {}
        self.streams = 0
        self.broken: Counter[tuple[str, str]] = Counter()
        """(key, check) -> how many streams break it."""
        self.findings: list[Finding] = []
        """The first `keep` of them."""

    def see(self, stream: Stream) -> None:
        """Check one more stream."""
        self.streams += 1
        for rule in self._rules:
            values = stream.tags if rule.kind == "tags" else stream.annotations
            value = values.get(rule.key)
            if rule.kind == "tags":
                value = value or None  # a tag always exists; an empty one says nothing
            if rule.broken_by(value) or (rule.check == "unique" and self._repeated(rule, stream.collection, value)):
                self.broken[rule.label, rule.check] += 1
                if len(self.findings) < self._keep:
                    place = f"{stream.collection}/{stream.name}"
                    self.findings.append(Finding(place, stream.uuid, rule.label, rule.check, value))

    def _repeated(self, rule: Rule, collection: str, value: str | None) -> bool:
        if value is None:
            return False
        place = rule, collection, value
        seen = place in self._first
        self._first[place] = True
        return seen
