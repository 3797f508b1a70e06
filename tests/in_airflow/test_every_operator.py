"""What holds for every operator and sensor of the package, whichever comes next."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_btrdb.get_provider_info import get_provider_info

INFO: dict[str, Any] = get_provider_info()


def classes() -> list[type]:
    modules = [
        importlib.import_module(name)
        for kind in ("operators", "sensors")
        for entry in INFO[kind]
        for name in entry["python-modules"]
    ]
    return [
        cls
        for module in modules
        for cls in vars(module).values()
        if isinstance(cls, type)
        and issubclass(cls, BaseOperator)
        and cls.__module__ == module.__name__
        and not cls.__name__.startswith("_")
    ]


def own_parameters(cls: type) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(inspect.unwrap(cls.__init__)).parameters
    return {name: parameter for name, parameter in parameters.items() if name not in ("self", "kwargs")}


@pytest.fixture(params=classes(), ids=lambda cls: cls.__name__)
def cls(request: pytest.FixtureRequest) -> type:
    return request.param


def test_there_are_all_of_them() -> None:
    assert len(classes()) == len({cls.__name__ for cls in classes()}) >= 8


def test_arguments_are_named(cls: type) -> None:
    kinds = {parameter.kind for parameter in own_parameters(cls).values()}
    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


def test_the_constructor_only_assigns(cls: type) -> None:
    """Templates are rendered later, and the scheduler must not do what belongs into a task."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(cls.__init__))))
    function = tree.body[0]
    assert isinstance(function, ast.FunctionDef)
    call, *assignments = function.body
    assert ast.unparse(call) == "super().__init__(**kwargs)"
    assert [ast.unparse(line) for line in assignments] == [f"self.{name} = {name}" for name in own_parameters(cls)]


def test_template_fields_are_arguments(cls: Any) -> None:
    arguments = set(own_parameters(cls))
    assert isinstance(cls.template_fields, tuple)
    assert len(set(cls.template_fields)) == len(cls.template_fields)
    assert set(cls.template_fields) <= arguments
    assert "btrdb_conn_id" in cls.template_fields
    assert set(cls.template_fields_renderers) <= set(cls.template_fields)
    assert own_parameters(cls)["btrdb_conn_id"].default == "btrdb_default"


def test_the_docstring_has_every_argument_and_says_which_are_templated(cls: Any) -> None:
    described = dict(re.findall(r"^:param (\w+): (.*?)(?=^:|\Z)", inspect.getdoc(cls) or "", re.MULTILINE | re.DOTALL))
    assert list(described) == list(own_parameters(cls))
    templated = {name for name, text in described.items() if text.rstrip().endswith("(templated)")}
    assert templated == set(cls.template_fields)


def test_the_result_is_described(cls: Any) -> None:
    (text,) = re.findall(r"^:return: (.*)\Z", inspect.getdoc(cls) or "", re.MULTILINE | re.DOTALL)
    for name in re.findall(r":class:`(\w+)`", text):
        assert getattr(importlib.import_module(cls.__module__), name).__annotations__


def test_a_killed_task_ends_its_calls(cls: Any) -> None:
    from airflow_provider_btrdb.hooks.task import HasBTrDBHook

    assert cls.on_kill is HasBTrDBHook.on_kill


def test_the_templates_of_every_class_are_rendered(cls: Any) -> None:
    needed = {
        name: "{{ 40 + 2 }}" if name in cls.template_fields else None
        for name, parameter in own_parameters(cls).items()
        if parameter.default is inspect.Parameter.empty or name in cls.template_fields
    }
    operator = cls(task_id="t", **needed)
    operator.render_template_fields({})
    assert {name: getattr(operator, name) for name in cls.template_fields} == dict.fromkeys(cls.template_fields, "42")
