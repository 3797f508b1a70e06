"""Suites from YAML and JSON: every fault of a file in one go, or a `Suite`."""

from __future__ import annotations

import pathlib
from collections import Counter
from typing import Any, Literal

from pydantic import ValidationError

from airflow_provider_btrdb.audit.rules import RULES, argument_of
from airflow_provider_btrdb.audit.selectors import Selector
from airflow_provider_btrdb.audit.suites import Check, RareKeys, Rule, Sql, Suite, SuiteError
from airflow_provider_btrdb.audit.thresholds import ANY
from airflow_provider_btrdb.audit.written import CHECKS, COMMON_FIELDS, SELECT_FIELDS, TOP_FIELDS, Common, Defaults, Top
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.documents.faults import Fault, nearest
from airflow_provider_btrdb.documents.files import Document, Where, kind_of, read_json, read_yaml, text_of
from airflow_provider_btrdb.documents.problems import as_written, problems


def read_suite(path: str | pathlib.Path) -> Suite:
    """The suite in a file of this machine that ends in .yaml, .yml or .json. Raises InputError."""
    kind = kind_of(str(path))
    if kind is None:
        raise InputError(f"{str(path)!r} must end in .yaml or .json, which says the format")
    return parse_suite(text_of(path), kind, source=str(path))


def parse_suite(text: str, kind: Literal["yaml", "json"] = "yaml", *, source: str = "suite") -> Suite:
    """The suite in a text. Raises SuiteError with all faults; `source` names the file in them."""
    document = read_yaml(text, source, CHECKS, SuiteError) if kind == "yaml" else read_json(text, source, SuiteError)
    return _File(document).suite()


class _File:
    """One file on its way to a suite."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._faults: list[Fault] = []
        self._names: Counter[str] = Counter()

    def suite(self) -> Suite:
        """Raises SuiteError."""
        data = self._document.data
        if not isinstance(data, dict):
            self._tell((), "must be a mapping with a list of checks", data)
            raise SuiteError(self._faults)
        entries = data.pop(CHECKS, None)
        if not isinstance(entries, list) or not entries:
            self._tell((CHECKS,), "is missing" if entries is None else "must be a list of checks", entries)
            entries = []
        top = self._top(data)
        selector = top.select.selector()
        checks = [self._check(number, entry, top.defaults, selector) for number, entry in enumerate(entries)]
        if self._faults:
            raise SuiteError(self._faults)
        return Suite(
            name=top.name or pathlib.PurePath(self._document.source).stem,
            description=top.description,
            checks=tuple(check for check in checks if check is not None),
            selector=selector,
            expect_streams=top.expect_at_least.get("streams"),
            expect_collections=top.expect_at_least.get("collections"),
            allow_drop=top.allow_drop,
            without_sql=top.without_sql,
            source=self._document.source,
        )

    def _top(self, data: dict[Any, Any]) -> Top:
        try:
            return Top.model_validate(data)
        except ValidationError as error:
            for where, value, message in problems(error, _known(error, TOP_FIELDS)):
                self._tell(where, message, value)
        return Top()  # so that the checks are looked at all the same

    def _check(self, number: int, entry: Any, defaults: Defaults, selector: Selector) -> Check | None:
        here: Where = (CHECKS, number)
        if not isinstance(entry, dict):
            self._tell(here, f"is {entry!r} and must be a mapping such as required: [unit]", entry)
            return None
        kinds = [key for key in entry if key in RULES]
        unknown = [key for key in entry if key not in RULES and key not in COMMON_FIELDS]
        for key in unknown:
            what = "check" if not kinds else "field of a check"
            self._tell((*here, key), f"there is no such {what}{nearest(key, COMMON_FIELDS if kinds else RULES)}", key)
        if len(kinds) != 1:
            said = f"has {' and '.join(kinds)}: one check has one rule" if kinds else f"has no rule{nearest('', RULES)}"
            if kinds or not unknown:
                self._tell(here, said, None)
            return None
        rule = self._rule(here, kinds[0], entry[kinds[0]])
        common = self._common(here, {key: entry[key] for key in entry if key in COMMON_FIELDS}, defaults)
        if rule is None or common is None:
            return None
        own = common.select.selector().and_(Selector(conditions=common.where))
        check = _made(self._name(here, common.name, rule), rule, common, selector.and_(own))
        for field, message in _misfits(check, common):
            self._tell((*here, field or kinds[0]), message, None)
        return check

    def _rule(self, here: Where, kind: str, given: Any) -> Rule | None:
        try:
            argument, alone = argument_of(kind, given)
        except TypeError as error:
            self._tell((*here, kind), str(error), given)
            return None
        try:
            return RULES[kind].model_validate(argument).value()
        except ValidationError as error:
            for where, value, message in problems(error, tuple(RULES[kind].model_fields)):
                self._tell((*here, kind, *(where[1:] if alone else where)), message, value)
        return None

    def _common(self, here: Where, given: dict[str, Any], defaults: Defaults) -> Common | None:
        try:
            return Common.model_validate({**{name: getattr(defaults, name) for name in Defaults.model_fields}, **given})
        except ValidationError as error:
            for where, value, message in problems(error, _known(error, COMMON_FIELDS)):
                self._tell((*here, *where), message, value)
        return None

    def _name(self, here: Where, given: str, rule: Rule) -> str:
        """Its own, or one that tells what it does; automatic ones are numbered where they meet."""
        name = given or " ".join(part for part in (rule.kind, ", ".join(rule.fields)) if part)
        self._names[name] += 1
        if self._names[name] == 1:
            return name
        if given:
            self._tell((*here, "name"), f"{given!r} is the name of an earlier check", given)
        return self._name(here, "", rule) if given else self._numbered(name)

    def _numbered(self, name: str) -> str:
        number = 2
        while f"{name} {number}" in self._names:
            number += 1
        self._names[f"{name} {number}"] += 1
        return f"{name} {number}"

    def _tell(self, where: Where, message: str, value: Any) -> None:
        name = ".".join(str(part) for part in (where[2:] if len(where) > 1 and where[0] == CHECKS else where))
        said = as_written(message, value, self._document.written(where))
        self._faults.append(Fault(self._document.source, self._document.line(where), name, said))


def _known(error: ValidationError, fields: tuple[str, ...]) -> tuple[str, ...]:
    """The fields to suggest from: inside of `select` others than beside it."""
    wheres = [one["loc"] for one in error.errors() if one["type"] == "extra_forbidden"]
    if wheres and all(where[0] == "select" for where in wheres):
        return SELECT_FIELDS
    return tuple(Defaults.model_fields) if wheres and all(where[0] == "defaults" for where in wheres) else fields


def _made(name: str, rule: Rule, common: Common, selector: Selector) -> Check:
    return Check(
        name=name,
        rule=rule,
        selector=selector,
        severity=common.severity,
        warn_if=common.warn_if or ANY,
        error_if=common.error_if or ANY,
        sample=common.sample,
        owner=common.owner,
        description=common.description,
    )


def _misfits(check: Check, common: Common) -> list[tuple[str, str]]:
    """What makes no sense together: pairs of a field and a sentence."""
    found = []
    if check.severity == "warn" and common.error_if is not None:
        found.append(("error_if", "counts for severity error only, and this check warns"))
    if isinstance(check.rule, Sql):
        if any(when is not None and when.percent for when in (common.warn_if, common.error_if)):
            found.append(("", "its rows are no share of anything: give numbers in warn_if and error_if"))
        if common.where or common.select != type(common.select)():
            found.append(("", "says itself what it looks at: leave out select and where"))
    if isinstance(check.rule, RareKeys) and not check.selector.is_prefix:
        found.append(("", "looks at everything below a prefix: leave out glob, where and sql, of the suite too"))
    return found
