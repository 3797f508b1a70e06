"""The pure half of many questions: which prefixes are read, and which streams count."""

from __future__ import annotations

import os
from uuid import uuid4

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.client.codec import to_key_values
from airflow_provider_btrdb.client.questions import Counted, common_beginning, covering_prefixes, matches
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

texts = st.lists(st.text("ab/", max_size=6), min_size=1, max_size=12)


@settings(deadline=None)
@given(texts, st.integers(1, 4))
def test_prefixes_cover_everything_once(names: list[str], most: int) -> None:
    prefixes = covering_prefixes(names, most)
    assert 1 <= len(prefixes) <= most
    for name in names:
        assert sum(name.startswith(prefix) for prefix in prefixes) == 1


@settings(deadline=None)
@given(texts)
def test_the_common_beginning_is_the_longest(names: list[str]) -> None:
    assert common_beginning(names) == os.path.commonprefix(names)  # noqa: RUF071 - texts, not paths


def test_prefixes_are_long_where_they_can_be() -> None:
    names = ["grid/a1", "grid/a2", "weather/b", "other"]
    assert covering_prefixes(names, 3) == ["grid/a", "other", "weather/b"]
    assert covering_prefixes([*names, "", "grid"], 3) == [""]
    assert covering_prefixes(names[:1], 3) == ["grid/a1"]


def test_a_stream_counts_as_the_server_counts() -> None:
    annotations = pb.StreamDescriptor(annotations=to_key_values({"k": "v", "none": None})).annotations

    def counts(**wanted: object) -> bool:
        question = Counted("c/", **{key: frozenset(pairs.items()) for key, pairs in wanted.items()})
        return matches(question, "c/d", {"name": "x", "unit": ""}, annotations)

    assert counts()
    assert counts(tags={"name": "x", "unit": None}, annotations={"k": "v", "none": None})
    assert counts(annotations={"k": None})
    assert counts(tags={"unit": ""})
    assert not counts(tags={"name": "y"})
    assert not counts(annotations={"k": "w"})
    assert not counts(annotations={"none": ""})
    assert not counts(annotations={str(uuid4()): None})
    assert not matches(Counted("d"), "c/d", {}, [])
