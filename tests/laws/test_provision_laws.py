"""Laws of specifications and plans: no order matters, and what is written is read again."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_btrdb.catalog.shards import shard_of
from airflow_provider_btrdb.catalog.streams import StoredStream, sorted_annotations
from airflow_provider_btrdb.client.identity import derived_uuid
from airflow_provider_btrdb.provision import Spec, WantedStream, load_plan, parse_spec, plan_bytes, print_spec
from airflow_provider_btrdb.provision.compare import compare
from airflow_provider_btrdb.provision.importing import spec_of
from airflow_provider_btrdb.provision.together import clashes

WORDS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=8)
TEXTS = st.one_of(
    st.sampled_from(["", "{{ x }}", "1", "yes", "null", "2024-01-01", "a: b", "- c", " d ", "e\nf", "\x85"]), WORDS
)
KEYS = st.one_of(st.sampled_from(["1", "null", "<<", "a.b"]), WORDS)
NOTES = st.dictionaries(KEYS, st.one_of(st.none(), TEXTS), max_size=3).map(sorted_annotations)
MAYBE = st.one_of(st.none(), TEXTS)
UUIDS = st.integers(1, 40).map(lambda number: UUID(int=number))


def distinct(streams: list[WantedStream]) -> Spec:
    """A specification of those that clash with none before them."""
    kept: list[WantedStream] = []
    for stream in streams:
        if not list(clashes([*kept, stream], UUID(int=99), "spec", "row", int)):
            kept.append(stream)
    return Spec(streams=tuple(kept), prefixes=("c",), namespace=UUID(int=99))


def wanted(words: Any) -> Any:
    fields = {
        "collection": words,
        "name": words,
        "unit": MAYBE,
        "ingress": MAYBE,
        "distiller": MAYBE,
        "annotations": NOTES,
        "owns": st.one_of(st.just(("*",)), st.lists(KEYS, max_size=2, unique=True).map(sorted).map(tuple)),
        "ignore_changes": st.lists(
            st.one_of(st.just("unit"), KEYS.map("annotations.{}".format)), max_size=2, unique=True
        )
        .map(sorted)
        .map(tuple),
        "prevent_destroy": st.booleans(),
    }
    derived = st.builds(
        WantedStream, generation=st.integers(0, 3), moved_from=st.one_of(st.none(), st.tuples(words, words)), **fields
    )
    return st.one_of(derived, st.builds(WantedStream, uuid=UUIDS, **fields))


SMALL = st.sampled_from(["ca", "cb", "d"])
SPECS = st.lists(wanted(SMALL), max_size=8).map(distinct)
DERIVED = st.builds(lambda c, n: derived_uuid(c, n, namespace=UUID(int=99)), SMALL, SMALL)
STORED = st.builds(
    StoredStream,
    st.one_of(UUIDS, DERIVED).map(lambda uuid: uuid.bytes),
    SMALL, SMALL, TEXTS, TEXTS, TEXTS, NOTES, st.integers(1, 5),
)  # fmt: skip
CATALOGUES = st.lists(STORED, max_size=12).map(lambda streams: {stream.uuid: stream for stream in streams})


@given(st.lists(wanted(WORDS), max_size=5).map(distinct), st.sampled_from(["yaml", "json"]))
@settings(max_examples=150, deadline=None)
def test_what_is_printed_is_read_again(spec: Spec, kind: Any) -> None:
    assert parse_spec(print_spec(spec, kind), kind) == spec


@given(SPECS, CATALOGUES, st.booleans(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_a_plan_knows_no_order(spec: Spec, snapshot: Any, prune: bool, chance: random.Random) -> None:
    rows, streams = list(spec.streams), list(snapshot.items())
    chance.shuffle(rows)
    chance.shuffle(streams)
    other = Spec(streams=tuple(rows), prefixes=spec.prefixes, namespace=spec.namespace)
    plan = compare(spec, snapshot, prune=prune)
    assert plan_bytes(compare(other, dict(streams), prune=prune)) == plan_bytes(plan)
    assert load_plan(plan_bytes(plan)) == plan


@given(SPECS, CATALOGUES, st.booleans(), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_shards_together_are_the_whole(spec: Spec, snapshot: Any, prune: bool, count: int) -> None:
    whole = compare(spec, snapshot, prune=prune)
    parts = [compare(spec, snapshot, prune=prune, shard=(number, count)) for number in range(count)]
    changes = [change for part in parts for change in part.changes]
    assert sorted(changes, key=lambda one: (one.collection, one.name, one.uuid.int)) == list(whole.changes)
    assert (sum(part.unchanged for part in parts), sum(part.unmanaged for part in parts)) == (
        whole.unchanged,
        whole.unmanaged,
    )
    assert all(shard_of(one.collection, count) == k for k, part in enumerate(parts) for one in part.changes)


@given(CATALOGUES)
@settings(max_examples=150, deadline=None)
def test_what_is_imported_is_there(snapshot: Any) -> None:
    spec = spec_of(snapshot, ["c", "d"], UUID(int=99))
    assert parse_spec(print_spec(spec), "yaml") == spec
    plan = compare(spec, snapshot, prune=True)
    assert (plan.changes, plan.unchanged, plan.unmanaged) == ((), len(snapshot), 0)


@given(SPECS, CATALOGUES)
@settings(max_examples=150, deadline=None)
def test_every_stream_is_meant_by_one_row_at_most(spec: Spec, snapshot: Any) -> None:
    plan = compare(spec, snapshot, prune=True)
    touched = [change.uuid for change in plan.changes if change.kind in ("update", "move", "destroy", "create")]
    assert len(touched) == len(set(touched))
    assert len(plan.changes) - plan.counts["destroy"] + plan.unchanged == len(spec.streams)
