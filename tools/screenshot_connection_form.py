"""`make screenshots`: the pictures of the connection form, taken by Chromium from a running Airflow.

Needs Debian's chromium, or another one whose path --chromium names.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from chromium import Page, browser, keep
from standalone import standalone

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"

SETTLED = 2
"""Seconds after which what opens has opened."""

WIDTH, HEIGHT = 900, 2200
DIALOG = "document.querySelector('[role=dialog]')"


def photograph(page: Page, url: str) -> dict[str, bytes]:
    """The form for a new connection of our type: the fields of all types, and ours. One part is open at a time."""
    page.call("Page.navigate", url=f"{url}/connections")
    page.press("Add Connection")
    page.until(f"({DIALOG}.querySelector('[role=combobox]').focus(), true)")
    page.call("Input.insertText", text="BTrDB")
    page.until("/BTrDB/.test(document.querySelector('[role=option]').textContent)")
    page.key("Enter", 13)
    page.until(f"/API key/.test({DIALOG}.innerText)")
    time.sleep(SETTLED)
    pictures = {"connection-form": page.picture(DIALOG)}
    page.press("Extra Fields(?! JSON)")
    page.until(f"/CA bundle/.test({DIALOG}.innerText)")
    time.sleep(SETTLED)
    return pictures | {"connection-form-extra": page.picture(DIALOG)}


def main() -> int:
    """Write the pictures; 0 if they are small enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--output", type=Path, default=IMAGES, help="a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        dags = Path(home, "dags")
        dags.mkdir()
        with standalone(Path(home), dags, {}) as airflow, browser(options.chromium, WIDTH, HEIGHT) as page:
            pictures = photograph(page, airflow.url)
    return keep(pictures, options.output)


if __name__ == "__main__":
    sys.exit(main())
