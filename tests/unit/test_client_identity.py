"""The derived uuid: pinned values, computed here by a formula of their own."""

from __future__ import annotations

import hashlib
import pickle
from typing import Any
from uuid import NAMESPACE_DNS, UUID

import pytest

from airflow_provider_btrdb.client.errors import InputError, ProtocolError
from airflow_provider_btrdb.client.identity import DEFAULT_NAMESPACE, derived_uuid, parse_uuid, uuid_of

UUID_TEXT = "0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a"
OTHER = UUID("12345678-1234-5678-1234-567812345678")


def _version_5(namespace: bytes, text: str) -> UUID:
    """RFC 4122, 4.3, byte by byte."""
    digest = bytearray(hashlib.sha1(namespace + text.encode("utf-8")).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x50
    digest[8] = digest[8] & 0x3F | 0x80
    return UUID(bytes=bytes(digest))


def test_the_default_namespace() -> None:
    assert _version_5(NAMESPACE_DNS.bytes, "airflow-provider-btrdb") == DEFAULT_NAMESPACE
    assert str(DEFAULT_NAMESPACE) == "b0caf2fc-01c1-56df-acbf-01c15f7e1edf"


@pytest.mark.parametrize(
    ("collection", "name", "generation", "text", "golden"),
    [
        (
            "grid/substation1",
            "frequency",
            0,
            '["grid/substation1","frequency"]',
            "47b0e20c-8a7d-53a1-9ac8-e45cce2bd9d6",
        ),
        (
            "grid/substation1",
            "frequency",
            1,
            '["grid/substation1","frequency",1]',
            "4833f1ec-3ca9-5823-9450-d89e2ffb796a",
        ),
        (
            "grid/substation1",
            "frequency",
            12,
            '["grid/substation1","frequency",12]',
            "5533ce77-f001-5327-84da-4e0393f90621",
        ),
        ("stadt/münchen", "спектр ⚡", 0, '["stadt/münchen","спектр ⚡"]', "cde0f139-357b-5bce-8975-bcd92ea9fe94"),
        ('say "a"\\', "line\nbreak", 0, '["say \\"a\\"\\\\","line\\nbreak"]', "4d3fa885-fff1-5770-8304-72160e5091e9"),
        ("", "", 0, '["",""]', "1cbb630f-1862-503a-a59a-6a72dc362eb8"),
    ],
)
def test_golden_values(collection: str, name: str, generation: int, text: str, golden: str) -> None:
    assert str(derived_uuid(collection, name, generation=generation)) == golden
    assert _version_5(DEFAULT_NAMESPACE.bytes, text) == UUID(golden)


def test_the_namespace_counts() -> None:
    assert derived_uuid("a", "b", namespace=OTHER) == _version_5(OTHER.bytes, '["a","b"]')
    assert derived_uuid("a", "b", namespace=OTHER) != derived_uuid("a", "b")


def test_nothing_is_normalised_and_nothing_runs_together() -> None:
    spellings = [
        ("a/b", "c"),
        ("a", "b/c"),
        ("A/b", "c"),
        ("a/b/", "c"),
        (" a/b", "c"),
        ("a/b", "c "),
        ("\u00e9", "c"),
        ("e\u0301", "c"),
        ('a","b', "c"),
        ("", "c"),
        ("c", ""),
    ]
    uuids = {derived_uuid(collection, name) for collection, name in spellings}
    uuids |= {derived_uuid("a/b", "c", generation=generation) for generation in range(1, 4)}
    assert len(uuids) == len(spellings) + 3
    assert derived_uuid("a/b", "c", generation=0) == derived_uuid("a/b", "c")
    assert {uuid.version for uuid in uuids} == {5}


def test_a_generation_is_not_negative() -> None:
    with pytest.raises(InputError, match="generation is -1"):
        derived_uuid("a", "b", generation=-1)


def test_text_that_is_no_unicode_is_refused_as_ours() -> None:
    with pytest.raises(InputError, match="cannot be written as UTF-8"):
        derived_uuid("\ud800", "b")


@pytest.mark.parametrize("value", [UUID(UUID_TEXT), UUID_TEXT, UUID_TEXT.upper(), UUID_TEXT.replace("-", "")])
def test_uuids(value: Any) -> None:
    assert parse_uuid(value) == UUID(UUID_TEXT)


@pytest.mark.parametrize("value", ["", "x", UUID_TEXT[:-1], 5, None, b"0123456789abcdef"])
def test_what_is_no_uuid_is_named(value: Any) -> None:
    with pytest.raises(InputError, match=r"row 3: uuid .* is not a uuid"):
        parse_uuid(value, "row 3: uuid")


@pytest.mark.parametrize("uuid", [UUID(int=0), UUID(int=2**128 - 1), OTHER])
def test_uuids_of_bytes(uuid: UUID) -> None:
    made = uuid_of(uuid.bytes)
    assert (made, hash(made), str(made), repr(made), made.is_safe) == (
        uuid,
        hash(uuid),
        str(uuid),
        repr(uuid),
        uuid.is_safe,
    )
    assert pickle.loads(pickle.dumps(made)) == uuid


@pytest.mark.parametrize("size", [0, 15, 17])
def test_uuids_of_too_few_or_too_many_bytes(size: int) -> None:
    with pytest.raises(ProtocolError, match=f"a uuid of {size} bytes"):
        uuid_of(bytes(size))
