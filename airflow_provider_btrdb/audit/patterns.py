"""Regular expressions that mean the same in Python and in PostgreSQL, and globs. Pure.

The two languages differ in `\\d`, `\\w`, `.`, `$`, case, lazy repeats and more, so only a small common part is
translated; a law compares both on the development server. All else is searched by Python alone.
"""

from __future__ import annotations

import re

_SAFE = re.compile(
    r"""
      (?P<plain> [A-Za-z0-9_\ /:=@,;%&~"'<>#!-] | \\[^A-Za-z0-9\s\x80-\U0010ffff] )
    | (?P<anyone> \. )
    | (?P<set> \[\^?(?: [A-Za-z0-9]-[A-Za-z0-9] | [A-Za-z0-9_\ /:=@,;%~.+*?()!] )+-?\] )
    | (?P<open> \((?:\?:)? )
    | (?P<close> \) )
    | (?P<either> \| )
    | (?P<start> \^ )
    | (?P<end> \$ )
    | (?P<times> (?: [*+?] | \{[0-9]{1,2}(?:,[0-9]{0,2})?\} ) (?![?+]) )
    """,
    re.VERBOSE,
)
MOST = 200
"""Characters of a pattern that is handed to PostgreSQL."""


def in_postgres(pattern: str) -> str | None:
    """The pattern for PostgreSQL's `~`, which then matches exactly where `re.search` does; None where that is unsure.

    In Python `.` is no line break and `$` also stands before a last one. Anchors are only known at the ends.
    """
    if len(pattern) > MOST:
        return None
    made: list[str] = []
    at = depth = 0
    while at < len(pattern):
        found = _SAFE.match(pattern, at)
        if found is None:
            return None
        kind, text, at = found.lastgroup, found[0], found.end()
        if (kind == "start" and found.start() != 0) or (kind == "end" and at != len(pattern)):
            return None
        if kind == "times" and made[-1:] == ["("]:
            return None  # `(?` begins an extension, and each language has its own
        depth += (kind == "open") - (kind == "close")
        if kind == "either" and depth == 0 and (pattern[0] == "^" or pattern[-1] == "$"):
            return None  # the anchor belongs to one branch, and the translated end would not
        made.append({"anyone": "[^\n]", "end": "\n?$"}.get(kind or "", text))
    return "".join(made)


WILD = re.compile(r"\*\*|\*|\?")


def glob_pattern(glob: str, end: str) -> str:
    """`*` is any text without a slash, `**` any text, `?` one character that is no slash; all else is itself.

    `end` is how the language at hand says "the end of the text".
    """
    made, at = ["^"], 0
    for found in WILD.finditer(glob):
        made += [re.escape(glob[at : found.start()]), {"**": "(?:.|\n)*", "*": "[^/]*", "?": "[^/]"}[found[0]]]
        at = found.end()
    return "".join([*made, re.escape(glob[at:]), end])


def glob_prefix(glob: str) -> str:
    """The text before the first wildcard."""
    found = WILD.search(glob)
    return glob if found is None else glob[: found.start()]
