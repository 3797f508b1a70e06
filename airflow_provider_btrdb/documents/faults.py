"""What is wrong with a file that a user wrote: all of it in one error, each with its place."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, NamedTuple

from airflow_provider_btrdb.catalog.streams import printable
from airflow_provider_btrdb.client.errors import InputError


class Fault(NamedTuple):
    """One thing that is wrong with a file."""

    source: str
    line: int
    """0 where no line is known."""
    field: str
    """As `annotations.site`; "" where the whole is meant."""
    message: str
    unit: str = "line"
    """What `line` counts."""

    def __str__(self) -> str:
        parts = [self.source, f"{self.unit} {self.line}" if self.line else "", self.field]
        return printable(f"{', '.join(part for part in parts if part)}: {self.message}")


class DocumentError(InputError):
    """A file cannot be used; `faults` has every reason, in the order of their lines."""

    what: ClassVar[str] = "file"
    """What the file is called in the message."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line, fault.field)))
        lines = "\n".join(f"  {fault}" for fault in self.faults)
        count = len(self.faults)
        super().__init__(f"{count} {'fault' if count == 1 else 'faults'} in the {self.what}:\n{lines}")


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'unit'? known are name, unit`, for the end of a message."""
    names = list(known)
    close = difflib.get_close_matches(str(word), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} known are {', '.join(names) or 'none'}"
