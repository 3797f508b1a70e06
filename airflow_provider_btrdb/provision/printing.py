"""A specification -> the text of a file, such that reading it gives the same specification."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import yaml

from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE
from airflow_provider_btrdb.provision.specs import Spec, WantedStream


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # chosen when it runs
    """The safe dumper; texts that hold line breaks or look like something else are quoted."""

    def ignore_aliases(self, data: Any) -> bool:
        """Equal values are written out: `*id001` says nothing to a reader."""
        return True


def print_spec(spec: Spec, kind: Literal["yaml", "json"] = "yaml") -> str:
    """Every stream written out, in the order of the specification."""
    top: dict[str, Any] = {}
    if spec.namespace != DEFAULT_NAMESPACE:
        top["namespace"] = str(spec.namespace)
    if spec.prefixes:
        top["prefixes"] = list(spec.prefixes)
    # Stored texts are no templates, whatever they look like.
    top["templates"] = False
    if kind == "json":
        entries = ",\n".join(json.dumps(_entry(stream), ensure_ascii=False) for stream in spec.streams)
        return f'{json.dumps(top)[:-1]}, "streams": [\n{entries}\n]}}\n'
    return "".join(_yaml(top, spec))


def _yaml(top: dict[str, Any], spec: Spec) -> Iterator[str]:
    yield _dumped(top)
    if not spec.streams:
        yield "streams: []\n"
        return
    yield "streams:\n"
    for stream in spec.streams:
        yield _dumped([_entry(stream)])


def _dumped(data: Any) -> str:
    text: str = yaml.dump(data, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=1 << 30)
    return text


def _entry(stream: WantedStream) -> dict[str, Any]:
    """Only what is said: what has its default value is left out."""
    tags = {key: getattr(stream, key) for key in ("name", "unit", "ingress", "distiller")}
    entry: dict[str, Any] = {"collection": stream.collection, **{k: v for k, v in tags.items() if v is not None}}
    if stream.annotations:
        entry["annotations"] = dict(stream.annotations)
    if stream.uuid is not None:
        entry["uuid"] = str(stream.uuid)
    if stream.generation:
        entry["generation"] = stream.generation
    if stream.moved_from is not None:
        entry["moved_from"] = list(stream.moved_from)
    if stream.owns:
        entry["owns"] = list(stream.owns)
    if stream.ignore_changes:
        entry["ignore_changes"] = list(stream.ignore_changes)
    if stream.prevent_destroy:
        entry["prevent_destroy"] = True
    return entry
