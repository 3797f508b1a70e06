"""A headless Chromium, spoken to in the DevTools protocol: for screenshots, and for tests of pages."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
    "--disable-dev-shm-usage",  # containers have little of it, and browsers side by side need more
)  # fmt: skip

LARGEST = 150_000
"""Bytes; a page of documentation should not weigh more for one picture."""

BUTTON = "[...document.querySelectorAll('button')].find(button => /%s/.test(button.textContent))"


class Page:
    """One page of a browser, spoken to in the DevTools protocol."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.events: list[dict[str, Any]] = []
        """What came of the domains that are enabled, each with its `method` and `params`."""

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of one command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(timeout=120))
            if "method" in reply:
                self.events.append(reply)
            if reply.get("id") == number:
                if "error" in reply:
                    raise RuntimeError(f"{method}: {reply['error']['message']}")
                result: dict[str, Any] = reply["result"]
                return result

    def watch(self) -> None:
        """From now on `events` has what the page does, loads and logs."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def value(self, expression: str) -> Any:
        """What the JavaScript expression gives; None while it fails, or while the page gives way to another one."""
        try:
            reply = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        except RuntimeError:
            return None
        return None if "exceptionDetails" in reply else reply["result"].get("value")

    def key(self, key: str, code: int, text: str = "") -> None:
        """Press a key: its name, its number on Windows, and the text that it types."""
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if kind == "keyDown" and text else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **typed)

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

    def view(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def picture(self, element: str) -> bytes:
        """A PNG of the element."""
        box = self.value(f"(({element}).getBoundingClientRect().toJSON())")
        clip = {name: box[name] for name in ("x", "y", "width", "height")}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip | {"scale": 1}, captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


def keep(pictures: Mapping[str, bytes], folder: Path) -> int:
    """Write PNGs by name, and say how large they are; 0 if all are small enough."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, png in pictures.items():
        file = folder / f"{name}.png"
        file.write_bytes(png)
        print(f"{file}: {len(png):,} bytes{', too many' if len(png) > LARGEST else ''}")
    return int(any(len(png) > LARGEST for png in pictures.values()))


def pages_of(port: str) -> list[dict[str, Any]]:
    """The pages that are open in the browser; there may be none yet."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=120) as reply:
        return [one for one in json.load(reply) if one["type"] == "page"]


@contextmanager
def browser(chromium: str, width: int, height: int) -> Iterator[Page]:
    """A page of a new Chromium with a window of so many pixels, which ends with the block."""
    flags = (*FLAGS, f"--window-size={width},{height}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [chromium, *flags, f"--user-data-dir={profile}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            told = Path(profile, "DevToolsActivePort")
            while not (told.exists() and told.read_text().strip()):
                if process.poll() is not None:
                    raise RuntimeError(f"{chromium} ended with status {process.returncode}")
                time.sleep(0.1)
            port = told.read_text().split()[0]
            while not (pages := pages_of(port)):
                time.sleep(0.1)
            (target,) = pages
            url = target["webSocketDebuggerUrl"]
            # No pings: a browser that does not answer for a while is busy, not gone.
            with connect(url, max_size=None, proxy=None, open_timeout=120, ping_interval=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.wait()
