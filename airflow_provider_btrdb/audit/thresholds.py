"""`> 0`, `>= 10`, `> 1%`: when failures amount to something."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WRITTEN = re.compile(r"\s*(?P<sign>>=?)\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*(?P<percent>%?)\s*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Threshold:
    """More failures than a number, or than a share of what was checked."""

    number: float
    percent: bool = False
    or_equal: bool = False

    @classmethod
    def parse(cls, text: str) -> Threshold | None:
        """None for what is no threshold."""
        found = _WRITTEN.fullmatch(text)
        if found is None or (not found["percent"] and "." in found["number"]):
            return None
        return cls(float(found["number"]), bool(found["percent"]), found["sign"] == ">=")

    def holds(self, count: int, total: int | None) -> bool:
        """Is it reached? Without failures it never is; a share of an unknown total counts as reached."""
        if count == 0:
            return False
        if self.percent and not total:
            return True
        # A quotient of whole numbers is rounded once, as the number in the text was: 7 of 10,000 are 0.07%.
        reached = 100 * count / total if self.percent and total else count
        return reached >= self.number if self.or_equal else reached > self.number

    def __str__(self) -> str:
        return f"{'>=' if self.or_equal else '>'} {self.number:.15g}{'%' if self.percent else ''}"


ANY = Threshold(0)
"""One failure is enough."""
