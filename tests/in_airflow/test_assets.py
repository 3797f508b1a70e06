"""Asset URIs as Airflow itself makes and cleans them."""

from __future__ import annotations

import airflow
import pytest
from airflow.providers.common.compat.sdk import Asset

from airflow_provider_btrdb.assets.streams import create_asset

UUID = "0b127631-96d9-52dd-9ccf-3055eec19609"


@pytest.mark.parametrize(
    ("given", "clean"),
    [
        (f"btrdb://host:4410/{UUID}", f"btrdb://host:4410/{UUID}"),
        (f"btrdb://HOST/{UUID.upper()}/", f"btrdb://host:4411/{UUID}"),
        (f"btrdb://user:secret@host:4410/{UUID.replace('-', '')}", f"btrdb://host:4410/{UUID}"),
        (f"btrdb://[::1]:4410/{UUID}", f"btrdb://[::1]:4410/{UUID}"),
        ("btrdb://host/collection/grid/bus 7", "btrdb://host:4411/collection/grid/bus%207"),
        ("btrdb://host/collection/grid%2Fbus%C3%A4", "btrdb://host:4411/collection/grid/bus%C3%A4"),
    ],
)
def test_airflow_gives_every_uri_one_spelling(given: str, clean: str) -> None:
    assert Asset(uri=given).uri == clean
    assert Asset(uri=clean).uri == clean


@pytest.mark.parametrize(
    "uri",
    ["btrdb://host", "btrdb://host/", "btrdb://host/collection", "btrdb://host/not-a-uuid", f"btrdb://host/{UUID}/more",
     f"btrdb:///{UUID}", f"btrdb://host/{UUID}?version=1"],
)  # fmt: skip
def test_a_uri_of_another_shape_is_refused(uri: str) -> None:
    if airflow.__version__.startswith("2."):
        with pytest.warns(UserWarning, match="btrdb URI"):
            Asset(uri=uri)
    else:
        with pytest.raises(ValueError, match="btrdb URI"):
            Asset(uri=uri)


def test_the_factory_makes_the_same_uris() -> None:
    assert create_asset(host="h", port=4410, uuid=UUID).uri == f"btrdb://h:4410/{UUID}"
    assert create_asset(host="h", collection="grid/bus?7#%").uri == "btrdb://h:4411/collection/grid/bus%3F7%23%25"
    assert create_asset(host="h", collection="c", extra={"version": 11}).extra == {"version": 11}
    for wrong in ({}, {"uuid": UUID, "collection": "c"}):
        with pytest.raises(ValueError, match="give either uuid or collection"):
            create_asset(host="h", **wrong)


def test_collections_that_differ_have_uris_that_differ() -> None:
    collections = ["a/b", "a/b/", "/a/b", "a//b", "a%2Fb", "A/b", "a/b c", "a/b%20c"]
    uris = {create_asset(host="h", collection=collection).uri for collection in collections}
    assert len(uris) == len(collections)
    assert {Asset(uri=uri).uri for uri in uris} == uris
