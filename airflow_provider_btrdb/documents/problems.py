"""Pydantic models of what users write, and the sentences that say what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from airflow_provider_btrdb.documents.faults import nearest
from airflow_provider_btrdb.documents.files import Unquoted


class Written(BaseModel):
    """A part of a file: no field that it does not know, and no value that has to be converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


def refused(message: str) -> PydanticCustomError:
    """What a validator raises to have its own sentence told."""
    return PydanticCustomError("refused", "{message}", {"message": message})


Problem = tuple[tuple[str | int, ...], Any, str]
"""Where inside of the entry, the value, and the sentence."""


def problems(error: ValidationError, known: tuple[str, ...]) -> Iterator[Problem]:
    """Each error of pydantic in words of ours."""
    for one in error.errors(include_url=False, include_context=True):
        where = tuple(part for part in one["loc"] if part != "[key]")
        kind, value = one["type"], one["input"]
        if kind == "missing":
            yield where, None, "is missing"
        elif kind == "extra_forbidden":
            yield where, None, f"there is no such field{nearest(where[-1], known)}"
        elif kind == "string_type":
            yield where, value, not_text(value)
        elif kind == "refused":
            yield where, value, one["msg"]
        else:
            expected = {"bool_type": "true or false", "dict_type": "a mapping", "list_type": "a list"}
            expected |= {"model_type": "a mapping", "model_attributes_type": "a mapping"}
            yield where, value, f"is {shown(value)} and must be {expected.get(kind, one['msg'])}"


def not_text(value: Any) -> str:
    """The sentence about a value that should have been quoted."""
    if isinstance(value, Unquoted):
        return f"is the {value.kind} {value} and must be text: write {json.dumps(str(value))}"
    if isinstance(value, bool):
        return f"is {str(value).lower()} and must be text: write {json.dumps(str(value).lower())}"
    if isinstance(value, int | float):
        return f"is the number {value} and must be text: write {json.dumps(str(value))}"
    return f"is {shown(value)} and must be text"


def as_written(message: str, value: Any, written: str | None) -> str:
    """The same sentence with a value as the file has it: `0123` is no 83 to whoever wrote it."""
    if written is None or not isinstance(value, bool | int | float):
        return message
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return message.replace(f" {shown} ", f" {written} ", 1).replace(json.dumps(shown), json.dumps(written))


def shown(value: object, most: int = 60) -> str:
    """A value for a sentence, cut where it is longer than `most` characters."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
