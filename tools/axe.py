"""axe-core, which finds what keeps people from using a page; from the npm registry."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chromium import Page

AXE = "axe-core@4.14.1"
PATIENCE = (
    "--fetch-timeout=20000", "--fetch-retries=4", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=8000",
)  # fmt: skip
"""Milliseconds: a network that stumbles is no registry that lacks it, and without one it is known in two minutes."""
RUN = "axe.run().then(found => JSON.stringify([found.violations, found.passes.map(one => one.id)]))"


def fetch(npm: str, folder: Path) -> str | None:
    """Its source, by way of the program npm; None where the registry does not give it."""
    command = [npm, "pack", AXE, "--silent", *PATIENCE]
    done = subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        return None
    (archive,) = folder.glob("*.tgz")
    with tarfile.open(archive) as files:
        source = files.extractfile("package/axe.min.js")
        assert source is not None
        return source.read().decode()


def look(page: Page, source: str) -> tuple[list[tuple[str, str, str]], set[str]]:
    """What it finds on the page that is open, as rule, weight and element; and the rules that hold."""
    page.call("Runtime.evaluate", expression=source)
    reply = page.call("Runtime.evaluate", expression=RUN, awaitPromise=True, returnByValue=True)
    violations, passes = json.loads(reply["result"]["value"])
    return [(one["id"], one["impact"], one["nodes"][0]["html"]) for one in violations], set(passes)
