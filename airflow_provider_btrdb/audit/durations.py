"""`90s`, `10m`, `1h30m`, `7d`: lengths of time as users write them."""

from __future__ import annotations

import re

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,7})h)?(?:(\d{1,7})m)?(?:(\d{1,9})s)?", re.ASCII)
NS = 1_000_000_000


def duration_ns(text: str) -> int | None:
    """Nanoseconds; None for what is no length of time, and for none at all."""
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        return None
    seconds = sum(int(number or 0) * size for number, size in zip(found.groups(), _UNITS.values(), strict=True))
    return seconds * NS or None


def duration_text(ns: int) -> str:
    """`1h30m`; what is below a second is dropped, and less than one is told in milliseconds."""
    seconds = abs(ns) // NS
    if not seconds:
        return f"{abs(ns) // 1_000_000}ms"
    parts = []
    for unit, size in _UNITS.items():
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts[:2])
