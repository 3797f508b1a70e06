"""The dict that Airflow reads from every installed provider, against Airflow's own schemas and this package's files."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import distribution, entry_points
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.providers.common.compat.sdk import BaseHook, BaseNotifier, BaseOperator, BaseSensorOperator
from airflow.providers_manager import ProvidersManager
from airflow.triggers.base import BaseTrigger

import airflow_provider_btrdb
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM, get_provider_info

INFO: dict[str, Any] = get_provider_info()
SCHEMAS = Path(airflow.__file__).parent

# provider.yaml, which the stricter schema is made for, has these two besides; a built provider has not.
ONLY_IN_SOURCES = {"state": "ready", "source-date-epoch": 0}


# Older ones know neither `conn-fields` nor `hook-name`, and ask the hook for the form.
form_from_metadata = pytest.mark.skipif(
    tuple(map(int, airflow.__version__.split(".")[:2])) < (3, 3), reason="needs Airflow 3.3: the form from metadata"
)


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    return loaded


def test_airflows_schema_for_installed_providers_accepts_it() -> None:
    jsonschema.validate(INFO, schema("provider_info"))


@form_from_metadata
def test_airflows_schema_for_its_own_providers_accepts_it() -> None:
    jsonschema.validate(INFO | ONLY_IN_SOURCES, schema("provider.yaml"))


def closed(node: Any) -> Any:
    """The schema with every object refusing keys that it does not name."""
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    copy = {key: closed(value) for key, value in node.items()}
    if isinstance(node.get("properties"), dict):
        copy["additionalProperties"] = False
    return copy


@form_from_metadata
def test_there_is_no_key_that_airflow_would_silently_ignore() -> None:
    jsonschema.validate(INFO | ONLY_IN_SOURCES, closed(schema("provider.yaml")))
    misspelt = INFO | {"connection-types": [INFO["connection-types"][0] | {"ui_field_behaviour": {}}]}
    with pytest.raises(jsonschema.ValidationError, match="ui_field_behaviour"):
        jsonschema.validate(misspelt | ONLY_IN_SOURCES, closed(schema("provider.yaml")))


def test_a_name_other_than_the_distributions_would_break_every_airflow_process() -> None:
    points = entry_points(group="apache_airflow_provider")
    (point,) = [point for point in points if point.module.startswith("airflow_provider_btrdb.")]
    assert point.load() is get_provider_info
    assert point.dist is not None
    assert INFO["package-name"] == point.dist.name == distribution("airflow-provider-btrdb").name


def test_the_newest_version_is_this_one() -> None:
    assert INFO["versions"][0] == airflow_provider_btrdb.__version__


@pytest.mark.parametrize("name", ["__init__.py", "get_provider_info.py"])
def test_what_airflow_imports_while_importing_itself_imports_nothing(name: str) -> None:
    tree = ast.parse((Path(airflow_provider_btrdb.__file__).parent / name).read_text())
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


BASES = {"operators": BaseOperator, "sensors": BaseSensorOperator, "hooks": BaseHook, "triggers": BaseTrigger}


def defines(module: str, base: type) -> bool:
    members = vars(importlib.import_module(module)).values()
    return any(isinstance(cls, type) and issubclass(cls, base) and cls.__module__ == module for cls in members)


@pytest.mark.parametrize("kind", list(BASES))
def test_the_modules_listed_are_those_that_have_classes_of_the_kind(kind: str) -> None:
    folder = Path(airflow_provider_btrdb.__file__).parent / kind
    found = {f"airflow_provider_btrdb.{kind}.{path.stem}" for path in folder.glob("*.py") if path.stem != "base"}
    (entry,) = INFO[kind]
    assert set(entry["python-modules"]) == {module for module in found if defines(module, BASES[kind])}


def test_the_notifiers_listed_are_those_that_there_are() -> None:
    folder = Path(airflow_provider_btrdb.__file__).parent / "notifications"
    found = [f"airflow_provider_btrdb.notifications.{path.stem}" for path in folder.glob("*.py")]
    classes = [cls for name in found for cls in vars(importlib.import_module(name)).values() if isinstance(cls, type)]
    notifiers = {cls for cls in classes if issubclass(cls, BaseNotifier) and cls.__module__ in found}
    assert {f"{cls.__module__}.{cls.__name__}" for cls in notifiers} == set(INFO["notifications"])


@pytest.mark.parametrize("kind", ["asset-uris", "dataset-uris"])
def test_the_functions_of_asset_uris_are_there(kind: str) -> None:
    (entry,) = INFO[kind]
    for path in (entry["handler"], entry["factory"], entry["to_openlineage_converter"]):
        module, _, name = path.rpartition(".")
        assert callable(getattr(importlib.import_module(module), name))


def test_the_hook_of_the_connection_type_imports_and_names_the_same_type() -> None:
    (connection,) = INFO["connection-types"]
    module, _, name = connection["hook-class-name"].rpartition(".")
    hook = getattr(importlib.import_module(module), name)
    assert (hook.conn_type, hook.hook_name) == (connection["connection-type"], connection["hook-name"])


@pytest.mark.filterwarnings("ignore:ProvidersManager.hooks is deprecated")
def test_airflow_accepts_the_hook_and_its_form() -> None:
    """Airflow before 3.2 drops a connection type whose form has a field that it does not know."""
    hook = ProvidersManager().hooks["btrdb"]
    assert hook is not None
    assert (hook.hook_name, hook.package_name) == ("BTrDB", INFO["package-name"])


SHOW_FORM = """
import json, sys
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
(form,) = [hook for hook in HookMetaService.hook_meta_data() if hook.connection_type == "btrdb"]
assert "airflow_provider_btrdb.hooks.btrdb" not in sys.modules
print(form.model_dump_json())
"""


@form_from_metadata
def test_airflows_server_shows_the_form_without_importing_the_hook(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHOW_FORM],
        cwd=tmp_path,
        env=os.environ | {"AIRFLOW_HOME": str(tmp_path)},
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    form = json.loads(done.stdout.splitlines()[-1])
    assert form["standard_fields"]["password"]["title"] == "API key"
    assert form["standard_fields"]["login"]["hidden"]
    assert set(form["extra_fields"]) == set(CONNECTION_FORM["conn-fields"])
    assert form["extra_fields"]["tls"]["schema"]["enum"] == ["auto", "on", "off"]
    # Airflow shows and saves asterisks instead of a default when it takes the field's name for a secret's.
    defaults = {name: field["schema"].get("default") for name, field in CONNECTION_FORM["conn-fields"].items()}
    assert {name: field["value"] for name, field in form["extra_fields"].items()} == defaults


def test_defaults_of_the_form_satisfy_their_own_schema() -> None:
    for field in CONNECTION_FORM["conn-fields"].values():
        jsonschema.Draft7Validator.check_schema(field["schema"])
        if "default" in field["schema"]:
            jsonschema.validate(field["schema"]["default"], field["schema"])


def test_placeholders_name_fields_that_the_form_shows() -> None:
    behaviour = CONNECTION_FORM["ui-field-behaviour"]
    shown = {"host", "port", "password", "extra", "description", *CONNECTION_FORM["conn-fields"]}
    assert set(behaviour["placeholders"]) <= shown
    assert set(behaviour["relabeling"]) <= shown
    assert not shown & set(behaviour["hidden-fields"])
