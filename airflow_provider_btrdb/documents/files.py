"""Files with a place for every value: YAML and JSON -> plain data, and the line where each part of it stands.

Owns how a file is read, and knows of its content only that one key of its top holds a long list: that is read entry
by entry, since YAML's tree of a large file takes ten times the memory of its data. Lines are looked for only when
something is wrong, in a tree that is made then; JSON is YAML enough for that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from airflow_provider_btrdb.catalog.streams import Sharing
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.documents.faults import DocumentError, Fault

MOST_VALUES = 20_000_000
"""Of a YAML file with its aliases written out: a small file can stand for more than any memory holds."""
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")

Where = tuple[str | int, ...]
"""Keys and indexes that lead to a part of the data."""


class Unquoted:
    """A date, or a number such as 007, that YAML sees in plain text. It stays what was written, and is no text."""

    def __init__(self, text: str, kind: str) -> None:
        self.text = text
        self.kind = kind

    def __repr__(self) -> str:
        return self.text


_PARSER: Any = getattr(yaml, "cyaml", None) and yaml.cyaml.CParser
"""libyaml's, where PyYAML was built with it: many times as fast as Python's."""


class _Loader(*((_PARSER, Composer, SafeConstructor, Resolver) if _PARSER else (yaml.SafeLoader,))):  # type: ignore[misc]  # chosen when it runs
    """PyYAML's safe loader, whose parts can be composed one by one; equal texts become one object."""

    def __init__(self, text: str) -> None:
        if _PARSER:
            for base in (_PARSER, Composer, SafeConstructor, Resolver):
                base.__init__(self, *((text,) if base is _PARSER else ()))
        else:
            super().__init__(text)
        self.shared = Sharing()


def _whole_number(loader: Any, node: Any) -> int | Unquoted:
    """YAML takes 010 for 8, 1:30 for 90 and 1_0 for 10; whoever writes them means something else."""
    number = loader.construct_yaml_int(node)
    return number if str(number) == node.value else Unquoted(node.value, "number")


_Loader.add_constructor("tag:yaml.org,2002:int", _whole_number)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: Unquoted(node.value, "date"))
_Loader.add_constructor("tag:yaml.org,2002:str", lambda loader, node: loader.shared(node.value))


@dataclass(slots=True)
class Document:
    """The data of a file, and where its parts are."""

    data: Any
    source: str
    _text: str
    _node: Any = None

    def line(self, where: Where) -> int:
        """The line of a part, counted from 1; of the nearest part around it where it is not there. 0 if unknown."""
        node = self._tree()
        line = node.start_mark.line + 1 if node is not None else 0
        for step in where:
            found = _child(node, step)
            if found is None:
                break
            line, node = found
        return line

    def written(self, where: Where) -> str | None:
        """The text of a plain value as it was written, which for `0123` and `yes` is not how Python shows it."""
        node = self._tree()
        for step in where:
            found = _child(node, step)
            if found is None:
                return None
            node = found[1]
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def _tree(self) -> Any:
        if self._node is None and self._text:
            # YAML minds tabs, and halves of a surrogate pair, both of which JSON may have; lines stay what they are.
            text, self._text = _SURROGATE.sub("?", self._text.replace("\t", " ")), ""
            try:
                self._node = yaml.compose(text, Loader=_Loader)
            except (yaml.YAMLError, RecursionError):
                return None  # JSON that is no YAML: faults are told without lines
        return self._node


def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return key.start_mark.line + 1, value
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step].start_mark.line + 1, node.value[step]
    return None


def kind_of(path: str) -> Literal["yaml", "json"] | None:
    """The format that the ending of a path says; None where it says neither."""
    kinds: dict[str, Literal["yaml", "json"]] = {"yaml": "yaml", "yml": "yaml", "json": "json"}
    return kinds.get(path.lower().rpartition(".")[2])


def text_of(path: str | Path) -> str:
    """A file of this machine. Raises InputError."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None


def read_yaml(text: str, source: str, entries: str, error: type[DocumentError] = DocumentError) -> Document:
    """Raises `error` for what is no YAML, for keys that occur twice, and for aliases that explode.

    `entries` is the key at the top that may hold a long list.
    """
    try:
        data, faults = _Reader(text, source, entries).read()
    except yaml.MarkedYAMLError as bad:
        mark = bad.problem_mark
        raise error([Fault(source, mark.line + 1 if mark else 0, "", f"no YAML: {bad.problem}")]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as bad:
        why = "nested too deeply" if isinstance(bad, RecursionError) else " ".join(str(bad).split())
        raise error([Fault(source, 0, "", f"no YAML: {why}")]) from None
    if faults:
        raise error(faults)
    return Document(data, source, text)


class _Reader:
    """Reads a YAML document whose top is a mapping with a long list in it."""

    def __init__(self, text: str, source: str, entries: str) -> None:
        self._source = source
        self._entries = entries
        self._loader = _Loader(text)
        self._anchored: dict[int, int] = {}
        """Sizes of parts that aliases may mean; the loader keeps them, so that their ids stay theirs."""
        self._faults: list[Fault] = []

    def read(self) -> tuple[Any, list[Fault]]:
        """The data, and what is wrong with the tree."""
        loader = self._loader
        try:
            loader.get_event()  # the beginning of the stream
            if loader.check_event(yaml.StreamEndEvent):
                return None, []
            loader.get_event()  # the beginning of the document
            data = self._top() if loader.check_event(yaml.MappingStartEvent) else self._value()
            loader.get_event()  # the end of the document
            if not loader.check_event(yaml.StreamEndEvent):
                line = loader.peek_event().start_mark.line + 1
                self._faults.append(Fault(self._source, line, "", "no YAML: a second document begins"))
            return data, self._faults
        finally:
            loader.dispose()

    def _top(self) -> dict[str, Any]:
        loader, data = self._loader, dict[str, Any]()
        loader.get_event()
        while not loader.check_event(yaml.MappingEndEvent):
            key = loader.compose_node(None, None)
            name = str(key.value)
            if name in data:
                self._faults.append(Fault(self._source, key.start_mark.line + 1, name, "stands there twice"))
            if name == self._entries and loader.check_event(yaml.SequenceStartEvent):
                loader.get_event()
                data[name] = []
                while not loader.check_event(yaml.SequenceEndEvent):
                    data[name].append(self._value())
                loader.get_event()
            else:
                data[name] = self._value()
        loader.get_event()
        return data

    def _value(self) -> Any:
        """The next part, as data; its tree is forgotten at once."""
        loader = self._loader
        node = loader.compose_node(None, None)
        sizes = dict(self._anchored)
        before = len(self._faults)
        self._faults += _bad_parts(node, self._source, sizes)
        self._anchored = {id(part): sizes[id(part)] for part in loader.anchors.values() if id(part) in sizes}
        return None if len(self._faults) > before else loader.construct_document(node)


def _bad_parts(root: Any, source: str, sizes: dict[int, int]) -> Iterator[Fault]:
    """Keys that occur twice, of which YAML itself would silently take the last; and aliases out of all proportion."""
    for node in _inside_out(root, sizes):
        if id(node) in sizes:
            continue
        parts = []
        if isinstance(node, yaml.MappingNode):
            yield from _twice(node, source)
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        # A part without a size yet is an alias to something that it is inside of.
        sizes[id(node)] = 1 + sum(sizes.get(id(part), MOST_VALUES) for part in parts)
        if sizes[id(node)] > MOST_VALUES:
            yield Fault(source, node.start_mark.line + 1, "", "its aliases make it larger than any memory")
            return


def _inside_out(root: Any, known: dict[int, int]) -> Iterator[Any]:
    """Every node after those inside of it, without what is known."""
    waiting = [(root, False)]
    opened: set[int] = set()
    while waiting:
        node, done = waiting.pop()
        if done or isinstance(node, yaml.ScalarNode):
            yield node
        elif id(node) not in opened and id(node) not in known:
            opened.add(id(node))
            waiting.append((node, True))
            pairs = node.value
            parts = [part for pair in pairs for part in pair] if isinstance(node, yaml.MappingNode) else pairs
            waiting.extend((part, False) for part in parts)


def _twice(node: Any, source: str) -> Iterator[Fault]:
    seen: set[str] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            if key.value in seen:
                yield Fault(source, key.start_mark.line + 1, key.value, "stands there twice")
            seen.add(key.value)


def read_json(text: str, source: str, error: type[DocumentError] = DocumentError) -> Document:
    """Raises `error` for what is no JSON and for keys that occur twice."""
    twice: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            keys = [key for key, _ in items]
            twice.extend(key for key in found if keys.count(key) > 1)
        return found

    try:
        data = json.loads(text, object_pairs_hook=pairs)
    except json.JSONDecodeError as bad:
        raise error([Fault(source, bad.lineno, "", f"no JSON: {bad.msg}")]) from None
    except ValueError:  # of int(): Python refuses to read it
        raise error([Fault(source, 0, "", "no JSON: a number has too many digits")]) from None
    except RecursionError:
        raise error([Fault(source, 0, "", "no JSON: nested too deeply")]) from None
    document = Document(data, source, text)
    if twice:
        root = document._tree()
        faults = [] if root is None else list(_bad_parts(root, source, {}))
        raise error(faults or [Fault(source, 0, key, "stands there twice") for key in twice])
    return document
