"""What a page says, without a word about how it looks. Everything is plain text; whoever sets it escapes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tone = Literal["plain", "good", "warn", "bad", "new"]
"""How something is meant: `new` is neither good nor bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A short word that catches the eye."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A label and its value."""

    label: str
    value: str
    href: str = ""
    """Where the value leads, if anywhere: relative, and quoted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One field of a table: lines below each other."""

    lines: tuple[str, ...]
    tone: Tone = "plain"
    code: bool = False
    """Set as code: a name, a value, a uuid."""
    href: str = ""
    """Where the first line leads, if anywhere: relative, and quoted."""

    @classmethod
    def of(cls, *lines: object, tone: Tone = "plain", code: bool = False, href: str = "") -> Cell:
        """A cell with these lines; numbers become text."""
        return cls(lines=tuple(map(str, lines)), tone=tone, code=code, href=href)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int = 0
    """Rows that the page does not show, because there are too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One thing that is counted, part by part."""

    label: str
    parts: tuple[tuple[int, Tone], ...]
    """How many, and how they are meant; 0 is not drawn."""
    tone: Tone = "plain"
    """Of the whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Bars as long as what they count. It shows nothing that words or a table do not say as well."""

    label: str
    """What it shows; stands below it, and in place of it for those who do not see it."""
    bars: tuple[Bar, ...]
    upright: bool = False
    """Side by side without their labels, as for points of time; otherwise below each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading with words, a picture and a table below it."""

    title: str
    words: tuple[str, ...] = ()
    """Paragraphs."""
    badges: tuple[Badge, ...] = ()
    picture: Picture | None = None
    table: Table | None = None
    anchor: str = ""
    """What links on the page call it, behind a `#`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page: what it is about, the facts in short, and sections in the order of their weight."""

    title: str
    summary: str
    badges: tuple[Badge, ...] = ()
    facts: tuple[Fact, ...] = ()
    sections: tuple[Section, ...] = ()
