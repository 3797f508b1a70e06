"""BTrDBMetadataCheckOperator, with and without SQL at the server."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from airflow_provider_btrdb._airflow import AirflowFailException, BTrDBTransientException
from airflow_provider_btrdb.client import BTrDB
from airflow_provider_btrdb.operators.audit import BTrDBMetadataCheckOperator

pytestmark = pytest.mark.usefixtures("connection")


def check(collection: str, **arguments: Any) -> Any:
    return BTrDBMetadataCheckOperator(task_id="t", collection=collection, **arguments).execute({})


@pytest.fixture
def streams(db: BTrDB, collection: str) -> str:
    db.create(uuid4(), collection, {"name": "L1MAG", "unit": "volts"}, {"phase": "A", "base_kv": "500"})
    db.create(uuid4(), collection, {"name": "L2MAG", "unit": "volst"}, {"phase": "B", "base_kv": "half"})
    db.create(uuid4(), collection, {"name": "L3MAG"}, {"phase": "", "extra": None})
    return collection


PASSES = [
    {"tags": {"name": {"present": True, "pattern": r"L[123]MAG", "unique": True}}},
    {"tags": {"unit": {"one_of": ["volts", "volst"]}}},
    {"annotations": {"nobody": {"absent": True}, "base_kv": {"pattern": r"\d+|half"}}},
]

FAILS = [
    ({"tags": {"unit": {"present": True}}}, "1 findings in 3 streams", "L3MAG: unit is missing .present"),
    ({"tags": {"unit": {"one_of": ["volts"]}}}, "unit one_of: 1", "L2MAG: unit is 'volst'"),
    ({"tags": {"name": {"pattern": "L[12]MAG"}}}, "name pattern: 1", "L3MAG: name is 'L3MAG'"),
    ({"tags": {"name": {"pattern": "MAG"}}}, "3 findings", "pattern"),
    ({"annotations": {"base_kv": {"pattern": r"\d+"}}}, "annotations.base_kv pattern: 1", "L2MAG.*is 'half'"),
    ({"annotations": {"base_kv": {"present": True}}}, "annotations.base_kv present: 1", "L3MAG.*is missing"),
    ({"annotations": {"phase": {"present": True}}}, "annotations.phase present: 1", "L3MAG"),
    ({"annotations": {"phase": {"absent": True}}}, "annotations.phase absent: 3", "phase"),
    ({"min_streams": "4", "tags": {"name": {"present": True}}}, "3 streams below", "absent, or invisible to this key"),
]


@pytest.mark.parametrize("arguments", PASSES)
def test_what_is_right_passes(streams: str, arguments: dict[str, Any]) -> None:
    count = sum(len(checks) for keys in arguments.values() for checks in keys.values())
    assert check(streams, **arguments) == {"streams": 3, "checks": count}


@pytest.mark.parametrize(("arguments", "counts", "finding"), FAILS)
def test_what_is_wrong_is_counted_and_shown(streams: str, arguments: dict[str, Any], counts: str, finding: str) -> None:
    with pytest.raises(BTrDBTransientException, match=f"(?s){counts}.*{finding}"):
        check(streams, **arguments)
    with pytest.raises(AirflowFailException):
        check(streams, **arguments, retry_on_failure=False)


def test_unique_is_a_matter_of_one_collection(db: BTrDB, collection: str) -> None:
    for place in ("a", "b"):
        db.create(uuid4(), f"{collection}/{place}", {"name": "same"})
    rule = {"name": {"unique": True}}
    assert check(collection, tags=rule)["streams"] == 2
    db.create(uuid4(), f"{collection}/b", {"name": "same", "unit": "V"})
    with pytest.raises(BTrDBTransientException, match="name unique: 1"):
        check(collection, tags=rule)


def test_an_empty_catalogue_is_no_success(collection: str) -> None:
    with pytest.raises(BTrDBTransientException, match=r"0 streams below .*at least 1 wanted"):
        check(collection, tags={"name": {"present": True}})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "there is nothing to check"),
        ({"tags": {"units": {"present": True}}}, "there is no tag 'units'"),
        ({"tags": {"unit": {"oneof": ["V"]}}}, "unknown check 'oneof'; did you mean 'one_of'"),
        ({"tags": {"unit": {"zzz": True}}}, "unknown check 'zzz'; known are present"),
        ({"tags": {"unit": {"one_of": "volts"}}}, "one_of is 'volts' and must be a list"),
        ({"tags": {"unit": {"pattern": "("}}}, "is no regular expression"),
        ({"tags": {"unit": {"present": False}}}, "present is False and can only be True"),
        ({"tags": {"unit": {}}}, "needs checks"),
        ({"annotations": ["phase"]}, "annotations is .* and must map keys to checks"),
        ({"tags": {"unit": {"present": True}}, "min_streams": "many"}, "min_streams is 'many'"),
    ],
)
def test_a_misspelt_rule_fails_for_good_before_anything_is_read(
    server: Any, arguments: dict[str, Any], words: str
) -> None:
    before = server.calls.count("LookupStreams")
    with pytest.raises(AirflowFailException, match=words):
        check("", **arguments)
    assert server.calls.count("LookupStreams") == before
