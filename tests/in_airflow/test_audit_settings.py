"""`[btrdb] audit_page`: what the plugin brings, and what it costs those who do not want it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_btrdb import settings
from airflow_provider_btrdb.get_provider_info import SETTINGS, get_provider_info
from airflow_provider_btrdb.plugins.audits import BTrDBAuditsPlugin

has_views = pytest.mark.skipif(
    not hasattr(AirflowPlugin, "external_views"), reason="needs Airflow 3.1: views of plugins"
)

SCRIPT = """
import json, logging, sys
from airflow.providers.common.compat.sdk import AirflowPlugin, conf
before = set(sys.modules)
logging.basicConfig(stream=sys.stderr)
from airflow_provider_btrdb.plugins.audits import BTrDBAuditsPlugin as plugin
views = [{**one} for one in plugin.external_views]
apps = [{**one, "app": one["app"].__name__} for one in plugin.fastapi_apps]
print(json.dumps([apps, views, sorted(set(sys.modules) - before)]))
"""


def loaded(**settings: str) -> tuple[list[Any], list[Any], list[str], str]:
    """The applications and views of the plugin in a process with these settings, its modules, and its errors."""
    environment = {**os.environ, **settings}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    apps, views, modules = json.loads(done.stdout.splitlines()[-1])
    return apps, views, modules, done.stdout + done.stderr  # Airflow 2 logs to the former


def test_who_does_not_ask_for_it_gets_nothing() -> None:
    apps, views, modules, _ = loaded()
    assert (apps, views) == ([], [])
    assert {"airflow_provider_btrdb.plugins.audits", "airflow_provider_btrdb.settings"} <= set(modules)
    ours = {name for name in modules if name.startswith("airflow_provider_btrdb.")}
    assert ours <= {
        "airflow_provider_btrdb._airflow",
        "airflow_provider_btrdb.plugins",
        "airflow_provider_btrdb.plugins.audits",
        "airflow_provider_btrdb.settings",
    }


@has_views
def test_who_asks_gets_an_entry_in_the_menu_and_no_web_framework_before_the_first_request() -> None:
    apps, views, modules, said = loaded(
        AIRFLOW__BTRDB__AUDIT_PAGE="True", AIRFLOW__API__BASE_URL="https://example.com/team/airflow/"
    )
    assert apps == [{"name": "BTrDB audits", "app": "serve", "url_prefix": "/btrdb/audits"}]
    assert views == [
        {
            "name": "BTrDB audits",
            "href": "/team/airflow/btrdb/audits/index.html",
            "destination": "nav",
            "category": "browse",
            "url_route": "btrdb-audits",
        }
    ]
    assert [name for name in modules if name.partition(".")[0] in ("fastapi", "starlette", "pydantic", "jinja2")] == []
    assert "audit_page needs" not in said


@pytest.mark.skipif(hasattr(AirflowPlugin, "external_views"), reason="needs an Airflow before 3.1")
def test_an_older_airflow_says_that_it_cannot() -> None:
    apps, views, _, said = loaded(AIRFLOW__BTRDB__AUDIT_PAGE="True")
    assert (apps, views) == ([], [])
    assert "[btrdb] audit_page needs Airflow 3.1 or later" in said


def test_the_folder_of_the_runs_may_have_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (settings.audit_path(), settings.audit_conn_id()) == ("", None)
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_PATH", "s3://lake/audits/")
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_CONN_ID", "lake")
    assert (settings.audit_path(), settings.audit_conn_id()) == ("s3://lake/audits", "lake")


def test_airflow_finds_the_plugin_and_knows_its_settings() -> None:
    (point,) = [point for point in entry_points(group="airflow.plugins") if point.name == "btrdb_audits"]
    assert point.load() is BTrDBAuditsPlugin
    (told,) = get_provider_info()["plugins"]
    assert told == {"name": BTrDBAuditsPlugin.name, "plugin-class": point.value.replace(":", ".")}
    command = [sys.executable, "-m", "airflow", "config", "list", "--section", "btrdb"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    names = [line.split(" = ")[0].lstrip("# ") for line in done.stdout.splitlines() if " = " in line]
    assert names == list(SETTINGS["options"])
