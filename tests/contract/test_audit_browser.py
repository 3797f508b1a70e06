"""The pages of audits in a browser: silent, usable by keyboard and on a narrow screen, readable without script.

The streams are of a real server, and are called what nobody should call them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from axe import look

from airflow_provider_btrdb.cli.audit import FAULT, main
from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.testing import devserver

chromium = pytest.importorskip("chromium", reason="needs websockets to drive Chromium")

NAMES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    "\"'><svg onload=alert(3)>",
    "\u05e9\u05dc\u05d5\u05dd \u202ecba",
)
SUITE = """\
name: "<b>nightly</b>"
select: {prefix: page/}
defaults: {owner: "grid people"}
checks:
- required: unit
- allowed: {unit: [volts]}
  severity: warn
- unique: [collection, name]
- count_between: {most: 9}
- sql: SELECT nothing FROM streams
"""
TAB, ENTER = 9, 13
NARROW = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the pages of two runs."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "suite.yaml").write_text(SUITE)
    with devserver() as server, connect(server.endpoint) as db:
        for bus in range(7):
            for number, name in enumerate(NAMES):
                db.create(uuid4(), f"page/{bus}{name}", {"name": f"{number}{name}", "unit": "" if bus % 2 else "amps"})
        arguments = ["run", str(folder / "suite.yaml"), "--endpoint", server.endpoint, "--store", str(folder / "runs")]
        assert main(arguments) == FAULT
        db.create(uuid4(), "page/new", {"name": "new"})
        assert main(arguments) == FAULT
    return folder / "runs"


@pytest.fixture(scope="module")
def page() -> Iterator[Any]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium")
    with chromium.browser(program, 1000, 800) as opened:
        opened.watch()
        yield opened


@pytest.fixture
def show(page: Any, kept: Path) -> Any:
    """`show(name)`: the browser opens the page of the newest run or the index; nothing is left of other tests."""
    page.call("Emulation.clearDeviceMetricsOverride")
    page.call("Emulation.setScriptExecutionDisabled", value=False)
    page.call("Emulation.setEmulatedMedia", features=[])

    def open_it(name: str) -> Any:
        path = kept / "index.html" if name == "index" else max(kept.glob("*/report.html"))
        page.call("Page.navigate", url="about:blank")
        page.events.clear()
        page.call("Page.navigate", url=path.as_uri())
        page.until("document.readyState === 'complete' && location.protocol === 'file:'")
        return page

    return open_it


both = pytest.mark.parametrize("name", ["run", "index"])


@both
def test_it_is_silent_and_asks_for_nothing(show: Any, name: str) -> None:
    page = show(name)
    assert page.value("document.querySelectorAll('th button').length") > 5, "our own script has run"
    told = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening"}
    assert [event for event in page.events if event["method"] in told] == []
    asked = [one["params"]["request"]["url"] for one in page.events if one["method"] == "Network.requestWillBeSent"]
    assert asked == [page.value("location.href")]
    assert page.value("document.querySelectorAll('main img, main script, main b').length") == 0


def test_names_are_shown_as_they_are(show: Any) -> None:
    page = show("run")
    shown = page.value("[...document.querySelectorAll('td.code')].map(cell => cell.innerText)")
    for number, name in enumerate(NAMES):
        assert f"{number}{name}" in shown
    assert page.value("document.querySelector('h1 bdi').innerText") == "Audit <b>nightly</b>"


@both
def test_a_narrow_screen_shows_all_of_it(show: Any, name: str) -> None:
    page = show(name)
    page.call("Emulation.setDeviceMetricsOverride", **NARROW)
    assert page.value("innerWidth") == 320
    assert page.value("document.documentElement.scrollWidth") == 320
    wide = page.value(
        "[...document.querySelectorAll('.wide')].map(one => [one.clientWidth, one.scrollWidth, one.tabIndex])"
    )
    assert all(width <= 320 and tab == 0 for width, _, tab in wide)
    assert any(inner > width for width, inner, _ in wide), "tables scroll by themselves"


def test_the_keyboard_reaches_everything(show: Any) -> None:
    page = show("index")
    for _ in range(40):
        page.key("Tab", TAB)
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none", "one sees where one is"
        if page.value("document.activeElement.tagName") == "A":
            break
    page.key("Enter", ENTER, "\r")
    page.until("location.pathname.endsWith('report.html') && document.readyState === 'complete'")
    reached = set()
    for _ in range(200):
        page.key("Tab", TAB)
        if page.value("document.activeElement === document.body"):
            break
        reached.add(page.value("document.activeElement.tagName"))
        page.value("document.activeElement.dataset.reached = 1")
    assert reached == {"A", "BUTTON", "DIV", "INPUT"}
    assert page.value("document.querySelectorAll('a, button, .wide, input').length") == page.value(
        "document.querySelectorAll('[data-reached]').length"
    )


def test_searching_and_sorting_by_keyboard(show: Any) -> None:
    page = show("run")
    table = "document.querySelector('#check-0 table')"
    first = f"[...{table}.tBodies[0].rows].filter(row => !row.hidden).map(row => row.cells[0].innerText)"
    everything = page.value(first)
    assert len(everything) == 13
    page.value(f"{table}.querySelector('th button').focus()")
    page.key("Enter", ENTER, "\r")
    assert page.value(f"{table}.querySelector('th').getAttribute('aria-sort')") == "ascending"
    page.key("Enter", ENTER, "\r")
    assert page.value(f"{table}.querySelector('th').getAttribute('aria-sort')") == "descending"
    turned = page.value(first)
    assert (sorted(turned), turned[-1][:6]) == (sorted(everything), "page/1")
    page.value("document.querySelector('#check-0 input').focus()")
    page.call("Input.insertText", text="ALERT(2) page/3")
    assert page.value(first) == [f"page/3{NAMES[1]}"]


@both
def test_everything_is_there_without_script(show: Any, page: Any, name: str) -> None:
    with_script = show(name).value("document.querySelector('main').innerText.length")
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    without = show(name)
    assert without.value("document.querySelectorAll('button, input').length") == 0
    assert without.value("document.querySelector('main').innerText.length") == with_script
    assert without.value(
        "[...document.querySelectorAll('tr, svg, rect')].every(one => one.getBoundingClientRect().height > 0)"
    )


@both
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(show: Any, axe: str, name: str, scheme: str) -> None:
    page = show(name)
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    assert page.value("getComputedStyle(document.body).backgroundColor") == (
        "rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)"
    )
    page.call("Emulation.setDeviceMetricsOverride", **NARROW)  # the more rules have something to look at
    violations, holds = look(page, axe)
    assert violations == []
    assert {"color-contrast", "svg-img-alt", "scrollable-region-focusable"} <= holds
