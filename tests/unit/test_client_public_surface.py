"""Both modes offer the same, every public name is explained, and the seed's calls keep their names and arguments."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_provider_btrdb import client
from airflow_provider_btrdb.client import AsyncBTrDB, AsyncStream, AsyncStreamSet, BTrDB, Stream, StreamSet

PAIRS = [(BTrDB, AsyncBTrDB), (Stream, AsyncStream), (StreamSet, AsyncStreamSet)]
MODULES = [
    importlib.import_module(found.name)
    for found in pkgutil.walk_packages(client.__path__, client.__name__ + ".")
    if "._sync" not in found.name
]

SURFACE = {
    BTrDB: """info create query list_collections collection_metadata stream_from_uuid streams streams_in_collection
        list_unique_names list_unique_units list_unique_annotations create_many update_many insert_many subscribe
        serves_sql query_iter lookup_iter run close""",
    Stream: """uuid collection name unit tags annotations exists version refresh update values values_iter windows
        aligned_windows nearest earliest latest current count changes subscribe insert delete flush obliterate""",
    StreamSet: """pin_versions versions filter windows aligned_windows values to_arrow to_pandas to_polars count
        earliest latest insert describe""",
}
"""What the connection promises."""

SEED = {
    "info": "()",
    "create": "(uuid, collection, tags=None, annotations=None)",
    "query": "(stmt, params=())",
    "list_collections": "(starts_with='')",
    "collection_metadata": "(prefix)",
    "stream_from_uuid": "(uuid)",
    "streams": "(*identifiers, versions=None, is_collection_prefix=False)",
    "streams_in_collection": "(*collection, is_collection_prefix=True, tags=None, annotations=None)",
}
"""The calls of `btrdb.conn.BTrDB` as its users know them."""


def public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


def bare(call: Any) -> str:
    """Names, defaults and kinds of arguments, without types and `self`."""
    parameters = list(inspect.signature(call).parameters.values())[1:]
    return str(inspect.Signature([parameter.replace(annotation=parameter.empty) for parameter in parameters]))


def translated(text: str) -> str:
    for ours, theirs in (("AsyncBTrDB", "BTrDB"), ("AsyncStream", "Stream"), ("AsyncIterator", "Iterator")):
        text = text.replace(ours, theirs)
    return re.sub(r"AsyncGenerator\[(.*), None\]", r"Generator[\1, None, None]", text)


@pytest.mark.parametrize(("sync", "asynchronous"), PAIRS)
def test_both_modes_have_the_same_signatures(sync: type, asynchronous: type) -> None:
    assert list(public(sync)) == list(public(asynchronous))
    for name, member in public(sync).items():
        twin = public(asynchronous)[name]
        assert type(member) is type(twin)
        assert inspect.getdoc(member) == inspect.getdoc(twin), name
        if inspect.isfunction(member):
            assert str(inspect.signature(member)) == translated(str(inspect.signature(twin))), name
            # A filter asks nobody; everything else that asks can be awaited or iterated over.
            assert (
                name in ("filter", "use_api_key")
                or inspect.iscoroutinefunction(twin)
                or inspect.isasyncgenfunction(twin)
            ), name


@pytest.mark.parametrize(("cls", "names"), SURFACE.items())
def test_what_is_promised_is_there(cls: type, names: str) -> None:
    assert set(names.split()) - public(cls).keys() == set()


@pytest.mark.parametrize("cls", [BTrDB, AsyncBTrDB])
def test_the_calls_of_the_seed_keep_their_names_and_arguments(cls: type) -> None:
    assert {name: bare(getattr(cls, name)) for name in SEED} == SEED


def unexplained(module: Any) -> Iterator[str]:
    if not (module.__doc__ or "").strip():
        yield module.__name__
    for name, member in vars(module).items():
        if name.startswith("_") or getattr(member, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(member) or inspect.isfunction(member):
            if not (member.__doc__ or "").strip() or member.__doc__.startswith(f"{name}("):
                yield f"{module.__name__}.{name}"  # of a dataclass without words, Python makes up the signature
            for inner, part in vars(member).items() if inspect.isclass(member) else ():
                call = part.fget if isinstance(part, property) else getattr(part, "__func__", part)
                if not inner.startswith("_") and inspect.isfunction(call) and not (call.__doc__ or "").strip():
                    yield f"{module.__name__}.{name}.{inner}"


def test_every_public_name_is_explained() -> None:
    assert len(MODULES) > 20
    assert [name for module in [client, *MODULES] for name in unexplained(module)] == []


def test_every_name_of_the_package_is_there_and_explained() -> None:
    for name in client.__all__:
        assert (getattr(client, name).__doc__ or "").strip(), name
