"""`make screenshots`: the pictures of the connection form, taken by Chromium from a running Airflow.

Needs Debian's chromium, or another one whose path --chromium names.
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from standalone import standalone
from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
LARGEST = 150_000
"""Bytes; a page of documentation should not weigh more for one picture."""

SETTLED = 2
"""Seconds after which what opens has opened."""

WIDTH, HEIGHT = 900, 2200
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
    f"--window-size={WIDTH},{HEIGHT}",
)  # fmt: skip

DIALOG = "document.querySelector('[role=dialog]')"
BUTTON = "[...document.querySelectorAll('button')].find(button => /%s/.test(button.textContent))"


class Page:
    """One page of a browser, spoken to in the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(timeout=60))
            if reply.get("id") == number:  # what else comes are events
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']['message']}")
                result: dict[str, Any] = reply["result"]
                return result

    def value(self, expression: str) -> Any:
        """What the JavaScript expression gives; None while it fails."""
        reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return None if "exceptionDetails" in reply else reply["result"].get("value")

    def until(self, expression: str) -> Any:
        """The value of the expression, once it is true."""
        for _ in range(600):
            if value := self.value(expression):
                return value
            time.sleep(0.2)
        raise RuntimeError(f"never came true: {expression}\nthe page says: {self.value('document.body.innerText')}")

    def press(self, text: str) -> None:
        """Press the button with this text, once it is there, as a mouse does."""
        box = self.until(f"{BUTTON % text}.getBoundingClientRect().toJSON()")
        where = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **where)

    def picture(self, element: str) -> bytes:
        """A PNG of the element."""
        box = self.value(f"(({element}).getBoundingClientRect().toJSON())")
        clip = {name: box[name] for name in ("x", "y", "width", "height")}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip | {"scale": 1}, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@contextmanager
def browser(chromium: str) -> Iterator[Page]:
    """A page of a new Chromium, which ends with the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={profile}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            told = Path(profile, "DevToolsActivePort")
            while not (told.exists() and told.read_text().strip()):
                if process.poll() is not None:
                    raise RuntimeError(f"{chromium} ended with status {process.returncode}")
                time.sleep(0.1)
            port = told.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=60) as reply:
                (target,) = [one for one in json.load(reply) if one["type"] == "page"]
            with connect(target["webSocketDebuggerUrl"], max_size=None, proxy=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait()


def photograph(page: Page, url: str) -> dict[str, bytes]:
    """The form for a new connection of our type: the fields of all types, and ours. One part is open at a time."""
    page.call("Page.navigate", url=f"{url}/connections")
    page.press("Add Connection")
    page.until(f"({DIALOG}.querySelector('[role=combobox]').focus(), true)")
    page.call("Input.insertText", text="BTrDB")
    page.until("/BTrDB/.test(document.querySelector('[role=option]').textContent)")
    for kind in ("keyDown", "keyUp"):
        page.call("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13)
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
        with standalone(Path(home), dags, {}) as airflow, browser(options.chromium) as page:
            pictures = photograph(page, airflow.url)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        file = options.output / f"{name}.png"
        file.write_bytes(png)
        print(f"{file}: {len(png):,} bytes{', too many' if len(png) > LARGEST else ''}")
    return int(any(len(png) > LARGEST for png in pictures.values()))


if __name__ == "__main__":
    sys.exit(main())
