"""Specifications from YAML, JSON, CSV and rows: every fault of a file in one go, or a `Spec`."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from airflow_provider_btrdb.catalog.streams import ANNOTATION, Sharing, sorted_annotations
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE
from airflow_provider_btrdb.documents.faults import Fault, nearest
from airflow_provider_btrdb.documents.files import Document, kind_of, read_json, read_yaml, text_of
from airflow_provider_btrdb.documents.problems import as_written, problems
from airflow_provider_btrdb.provision import entries
from airflow_provider_btrdb.provision.entries import ENTRIES, FOR_EACH, Defaults, Entry, Top
from airflow_provider_btrdb.provision.specs import Spec, SpecError, WantedStream, listed
from airflow_provider_btrdb.provision.tables import read_csv
from airflow_provider_btrdb.provision.templates import Renderer, TemplateFault, ValueFault, combinations
from airflow_provider_btrdb.provision.together import clashes

Format = Literal["yaml", "json", "csv"]
Where = tuple[str | int, ...]
Tell = Callable[[Where, str, Any], None]
"""Takes a place inside of an entry, a sentence and the value it is about."""


def format_of(path: str) -> Format:
    """The format that a path's ending says. Raises InputError."""
    kind = "csv" if path.lower().rpartition(".")[2] == "csv" else kind_of(path)
    if kind is None:
        raise InputError(f"{path!r} must end in .yaml, .json or .csv, which says the format")
    return kind


def read_spec(path: str | pathlib.Path, **options: Any) -> Spec:
    """The specification in a file of this machine; the options are those of `parse_spec`. Raises InputError."""
    kind = format_of(str(path))
    return parse_spec(text_of(path), kind, source=str(path), **options)


def read_defaults(path: str | pathlib.Path) -> dict[str, Any]:
    """What streams have unless their row says otherwise, from a YAML or JSON file. Raises InputError."""
    kind = format_of(str(path))
    data = None if kind == "csv" else _document(text_of(path), kind, str(path)).data
    if not isinstance(data, dict):
        raise InputError(f"{path} must be YAML or JSON with a mapping: {', '.join(entries.DEFAULT_FIELDS)}")
    return data


def _document(text: str, kind: Literal["yaml", "json"], source: str) -> Document:
    return read_yaml(text, source, ENTRIES, SpecError) if kind == "yaml" else read_json(text, source, SpecError)


def parse_spec(
    text: str,
    kind: Format,
    *,
    source: str = "spec",
    params: Mapping[str, Any] | None = None,
    prefixes: str | Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    namespace: UUID | None = None,
) -> Spec:
    """The specification in a text. Raises SpecError with all faults; `source` names the file in them.

    `params` are names for templates in YAML and JSON. `prefixes`, `defaults` and `namespace` are what a table has no
    place for; for YAML and JSON they come on top of what the file says, and the file's own word counts.
    """
    if kind == "csv":
        rows = _Rows(source, "line")
        return rows.spec(read_csv(text, source, rows.faults), defaults or {}, listed(prefixes), namespace)
    try:
        document = _document(text, kind, source)
        return _File(document, params or {}).spec(defaults or {}, listed(prefixes), namespace)
    except RecursionError:  # JSON's parser goes deeper than what comes after it
        raise SpecError([Fault(source, 0, "", "nested too deeply")]) from None


def spec_from_rows(
    rows: Iterable[Mapping[str, Any]],
    *,
    source: str = "rows",
    prefixes: str | Iterable[str] = (),
    defaults: Mapping[str, Any] | None = None,
    namespace: UUID | None = None,
) -> Spec:
    """The specification in rows, as SQL or another task gives them: data, so never rendered. Raises SpecError.

    Columns are the fields of an entry, and `annotations.KEY`; a column that is None is not given.
    """
    made = _Rows(source, "row")

    def given() -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in enumerate(rows, start=1):
            if isinstance(row, Mapping):
                yield number, {key: value for key, value in row.items() if value is not None}
            else:
                made.faults.append(Fault(source, number, "", f"is a {type(row).__name__}, not a row of columns", "row"))

    return made.spec(given(), defaults or {}, listed(prefixes), namespace)


@dataclass(slots=True)
class _Builder:
    """Turns entries into wanted streams that share their texts, and collects faults."""

    source: str
    faults: list[Fault]
    counted: str
    line_of: Callable[[int], int]
    """The line or row of a place."""
    shared: Sharing = field(default_factory=Sharing)

    def stream(
        self, written: Mapping[str, Any], place: int, tell: Tell, told: Collection[Where] = ()
    ) -> WantedStream | None:
        """One entry; None when something is wrong with it, as in those places of it that were `told` already."""
        annotations = written.get("annotations")
        if isinstance(annotations, Mapping):
            written = {**written, "annotations": {key: entries.canonical(value) for key, value in annotations.items()}}
        wrong = set(told)
        try:
            entry = Entry.model_validate(written)
        except ValidationError as error:
            for where, value, message in problems(error, entries.ENTRY_FIELDS):
                if where not in wrong:
                    tell(where, message, value)
                    wrong.add(where)
            entry = entries.texts_of(written)
        for where, value, message in entries.text_problems(entry):
            if where not in wrong and where[:1] not in wrong:
                tell(where, message, value)
                wrong.add(where)
        return None if wrong else self._value(entry, place)

    def _value(self, entry: Entry, place: int) -> WantedStream:
        shared = self.shared
        return WantedStream(
            collection=shared(entry.collection),
            name=shared(entry.name),
            unit=shared(entry.unit),
            ingress=shared(entry.ingress),
            distiller=shared(entry.distiller),
            annotations=sorted_annotations(entry.annotations, shared),
            uuid=entry.uuid,
            generation=entry.generation,
            moved_from=entry.moved_from,
            owns=shared(entry.owns),
            ignore_changes=shared(entry.ignore_changes),
            prevent_destroy=entry.prevent_destroy,
            place=place,
        )

    def finished(self, streams: list[WantedStream], prefixes: Iterable[str], namespace: UUID | None) -> Spec:
        """All streams together. Raises SpecError."""
        named = namespace or DEFAULT_NAMESPACE
        self.faults += dict.fromkeys(clashes(streams, named, self.source, self.counted, self.line_of))
        if self.faults:
            raise SpecError(self.faults)
        return Spec(streams=tuple(streams), prefixes=tuple(sorted(set(prefixes))), namespace=named, source=self.source)


class _Rows:
    """A table: one row, one stream."""

    def __init__(self, source: str, counted: str) -> None:
        self.faults: list[Fault] = []
        self._builder = _Builder(source, self.faults, counted, lambda place: place)

    def spec(
        self,
        rows: Iterable[tuple[int, dict[str, Any]]],
        defaults: Mapping[str, Any],
        prefixes: Iterable[str],
        namespace: UUID | None,
    ) -> Spec:
        """Raises SpecError."""
        base = _checked_defaults(defaults, self._told(0, "defaults"))
        streams = []
        for place, row in rows:
            tell = self._told(place)
            made = self._builder.stream(_merged(base, _gathered(row, tell)), place, tell)
            if made is not None:
                streams.append(made)
        return self._builder.finished(streams, prefixes, namespace)

    def _told(self, place: int, *before: str) -> Tell:
        def tell(where: Where, message: str, value: Any) -> None:
            name = ".".join(map(str, (*before, *where)))
            self.faults.append(Fault(self._builder.source, place, name, message, self._builder.counted))

        return tell


class _File:
    """A YAML or JSON file."""

    def __init__(self, document: Document, params: Mapping[str, Any]) -> None:
        self._document = document
        self._params = params
        self._render = Renderer()
        self._faults: list[Fault] = []
        self._told: set[Where] = set()
        self._builder = _Builder(document.source, self._faults, "line", lambda place: document.line((ENTRIES, place)))

    def spec(self, defaults: Mapping[str, Any], prefixes: Iterable[str], namespace: UUID | None) -> Spec:
        """Raises SpecError."""
        top, written = self._top()
        base = _merged(defaults, top.defaults)
        _checked_defaults(base if not top.templates else defaults, self._tell_at("defaults"), top.defaults)
        streams: list[WantedStream] = []
        for number in range(len(written)):
            entry, written[number] = written[number], None  # it is not needed any longer, and there are many
            streams += self._streams(number, entry, top, base)
        managed = self._rendered(top.prefixes, {}, ("prefixes",), top.templates) or []
        return self._builder.finished(streams, [*managed, *prefixes], top.namespace or namespace)

    def _top(self) -> tuple[Top, list[Any]]:
        """The top and the entries. Raises SpecError for what has neither."""
        data = self._document.data
        if not isinstance(data, dict):
            self._tell((), "must be a mapping with a list of streams", data)
            raise SpecError(self._faults)
        written = data.pop(ENTRIES, None)
        if not isinstance(written, list):
            self._tell((ENTRIES,), "is missing" if written is None else "must be a list", written)
            written = []
        try:
            return Top.model_validate(data), written
        except ValidationError as error:
            for where, value, message in problems(error, entries.TOP_FIELDS):
                self._tell(where, message, value)
        # The streams are looked at all the same: all faults in one go.
        defaults = data.get("defaults")
        return Top.model_construct(defaults=defaults if isinstance(defaults, dict) else {}), written

    def _streams(self, number: int, entry: Any, top: Top, base: Mapping[str, Any]) -> Iterator[WantedStream]:
        here: Where = (ENTRIES, number)
        if not isinstance(entry, dict):
            self._tell(here, f"is {entry!r} and must be a mapping with a collection and a name", entry)
            return
        tell = self._tell_in(here, entry)
        for names in self._rows_of(entry, here):
            own = {key: value for key, value in entry.items() if key != FOR_EACH and value is not None}
            written = _merged(base, own)
            broken: list[Where] = []
            if top.templates:
                written = self._rendered_fields(written, names, here, broken)
            made = self._builder.stream(written, number, tell, broken)
            if made is not None:
                yield made
            if broken:
                return

    def _rendered_fields(
        self, written: Mapping[str, Any], names: Mapping[str, Any], here: Where, broken: list[Where]
    ) -> dict[str, Any]:
        """The fields that can be rendered, annotations one by one; the places of the others go to `broken`."""
        every = {**self._params, **names}

        def fields(values: Mapping[str, Any], where: Where) -> dict[str, Any]:
            done = {}
            for key, value in values.items():
                at = (*where, key)
                try:
                    parts = at == ("annotations",) and isinstance(value, Mapping)
                    done[key] = fields(value, at) if parts else self._render(value, every, at)
                except TemplateFault as fault:
                    self._tell((*here, *fault.where), str(fault), None)
                    broken.append(at)
            return done

        return fields(written, ())

    def _rows_of(self, entry: Mapping[str, Any], here: Where) -> Iterator[dict[str, Any]]:
        if FOR_EACH not in entry:
            yield {}
            return
        try:
            yield from combinations(entry[FOR_EACH], self._render, self._params)
        except ValueFault as fault:
            self._tell((*here, FOR_EACH, *fault.where), str(fault), fault.value)
        except TemplateFault as fault:
            self._tell((*here, FOR_EACH, *fault.where), str(fault), None)

    def _rendered(self, value: Any, names: Mapping[str, Any], here: Where, templates: bool) -> Any:
        """None when it cannot be rendered."""
        if not templates:
            return value
        try:
            return self._render(value, {**self._params, **names})
        except TemplateFault as fault:
            self._tell((*here, *fault.where), str(fault), None)
            return None

    def _tell_in(self, here: Where, entry: Mapping[str, Any]) -> Tell:
        """Faults inside of an entry; what the entry does not say itself comes from the defaults."""

        def tell(where: Where, message: str, value: Any) -> None:
            own = not where or where[0] in entry or message == "is missing"
            self._tell((*here, *where) if own else ("defaults", *where), message, value)

        return tell

    def _tell_at(self, *before: str) -> Tell:
        return lambda where, message, value: self._tell((*before, *where), message, value)

    def _tell(self, where: Where, message: str, value: Any) -> None:
        """Once for each place: an entry that stands for a thousand streams has a fault once."""
        if where not in self._told:
            self._told.add(where)
            inside = len(where) > 1 and where[0] == ENTRIES
            name = ".".join(str(part) for part in (where[2:] if inside else where))
            said = as_written(message, value, self._document.written(where))
            self._faults.append(Fault(self._document.source, self._document.line(where), name, said))


def _gathered(row: dict[str, Any], tell: Tell) -> dict[str, Any]:
    """Columns `annotations.KEY` become annotations; one that the column `annotations` has too is a fault."""
    columns = [name for name in row if isinstance(name, str) and name.startswith(ANNOTATION)]
    if not columns:
        return row
    whole = row.get("annotations") or {}
    if not isinstance(whole, Mapping):
        return row
    single = {name[len(ANNOTATION) :]: row[name] for name in columns}
    for key in sorted(whole.keys() & single.keys()):
        tell(("annotations", key), "stands in the column `annotations` too", None)
    rest = {name: value for name, value in row.items() if name not in columns}
    rest["annotations"] = {**whole, **single}
    return rest


def _merged(base: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry on top of the defaults; annotations key by key."""
    if not base:
        return dict(entry)
    merged = {**base, **entry}
    first, second = base.get("annotations"), entry.get("annotations")
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        merged["annotations"] = {**first, **second}
    return merged


def _checked_defaults(
    given: Mapping[str, Any], tell: Tell, unchecked: Mapping[str, Any] | None = None
) -> Mapping[str, Any]:
    """The same, after its faults were told. Of `unchecked`, which may hold templates, only the names are looked at."""
    try:
        Defaults.model_validate(dict(given))
    except ValidationError as error:
        for where, value, message in problems(error, entries.DEFAULT_FIELDS):
            tell(where, message, value)
        return {}
    for name in unchecked or ():
        if name not in entries.DEFAULT_FIELDS:
            tell((name,), f"there is no such field{nearest(name, entries.DEFAULT_FIELDS)}", None)
    return given
