"""docs/connection.md: every extra stands in it, and its JSON and its URI mean one and the same connection."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_btrdb._airflow import Connection
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM
from airflow_provider_btrdb.hooks.settings import config_of

TEXT = (Path(__file__).parents[2] / "docs" / "connection.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    return str(found).strip()


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, Any]:
    monkeypatch.setenv("AIRFLOW_CONN_AS_JSON", block("json"))
    monkeypatch.setenv("AIRFLOW_CONN_AS_URI", block("text"))
    from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

    as_json: Connection
    as_json, as_uri = (BTrDBHook.get_connection(name) for name in ("as_json", "as_uri"))
    return as_json, as_uri


def test_both_forms_mean_the_same(both: tuple[Any, Any]) -> None:
    configs = [config_of(one, one.extra_dejson) for one in both]
    assert configs[0] == configs[1]
    assert configs[0].api_key == json.loads(block("json"))["password"]


def test_both_forms_and_the_table_have_every_extra(both: tuple[Any, Any]) -> None:
    fields: Any = CONNECTION_FORM["conn-fields"]
    for one in both:
        assert set(one.extra_dejson) == set(fields)
    rows = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| ([^|]+) \|$", TEXT, re.MULTILINE))
    assert set(rows) == set(fields)
    for name, field in fields.items():
        default = field["schema"].get("default")
        if default is not None:
            assert rows[name].strip("`") == (str(default).lower() if isinstance(default, bool) else str(default)), name
