"""The pages of audits inside Airflow: a real API server, asked over HTTP and by a browser."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import fsspec
import pytest
from airflow.providers.common.compat.sdk import AirflowPlugin
from axe import look
from fsspec.implementations.local import LocalFileSystem
from standalone import Standalone, api_server

from airflow_provider_btrdb.audit import parse_suite, run_suite, store
from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.testing import devserver

pytestmark = pytest.mark.skipif(
    not hasattr(AirflowPlugin, "external_views"), reason="needs Airflow 3.1: views of plugins"
)

EVIL = "<script>alert(1)</script>"
NO_RUN = "20000101T000000.000000Z"
PASSWORDS = {"vera": "sesame"}
SUITE = "name: nightly\nselect: {prefix: view/}\nchecks:\n- required: unit\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, without pages, and what is no run."""
    folder = tmp_path_factory.mktemp("audits") / "runs"
    with devserver() as server, connect(server.endpoint) as db:
        db.create(uuid4(), "view/a", {"name": EVIL})
        for _ in range(2):
            audit = db.run(run_suite(parse_suite(SUITE)))
            store(audit, folder)
            audit.close()
    for name in (NO_RUN, f"{NO_RUN}-old"):
        (folder / name).mkdir()
        (folder / name / "run.json").write_text("{}")
    (folder.parent / "run.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def airflow(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standalone]:
    home = tmp_path_factory.mktemp("airflow")
    (home / "passwords.json").write_text(json.dumps(PASSWORDS))
    settings = {
        "AIRFLOW__BTRDB__AUDIT_PAGE": "True",
        "AIRFLOW__BTRDB__AUDIT_PATH": f"{folder}/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "vera:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
    }
    with api_server(home, settings) as running:
        yield running


@pytest.fixture(scope="module")
def token(airflow: Standalone) -> str:
    (login,) = [{"username": name, "password": word} for name, word in PASSWORDS.items()]
    return str(airflow.api("POST", "/auth/token", login)["access_token"])


def get(airflow: Standalone, path: str, **headers: str) -> tuple[int, str, Any]:
    """Status, text and headers of a reply."""
    request = urllib.request.Request(f"{airflow.url}/btrdb/audits/{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.read().decode(), reply.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), error.headers


def run_ids(folder: Path) -> list[str]:
    return sorted(place.name for place in folder.iterdir() if not place.name.startswith(NO_RUN))


def test_nobody_sees_anything_without_login(airflow: Standalone, folder: Path) -> None:
    for path in ("index.html", *(f"{run}/{page}" for run in run_ids(folder) for page in ("report.html", "run.json"))):
        for headers in ({}, {"Authorization": "Bearer guessed"}, {"Cookie": "_token=guessed"}):
            status, text, _ = get(airflow, path, **headers)
            assert (status, "nightly" in text) == (403 if headers else 401, False), (path, headers)


def test_who_is_logged_in_sees_the_stored_runs(airflow: Standalone, folder: Path, token: str) -> None:
    for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"_token={token}"}):
        status, index, told = get(airflow, "index.html", **headers)
        assert status == 200
        assert told["Content-Security-Policy"] == "frame-ancestors 'self'"
        assert (told["X-Content-Type-Options"], told["Cache-Control"]) == ("nosniff", "no-store")
        assert NO_RUN in index, "among those that cannot be read"
        for run in run_ids(folder):
            assert f'href="{run}/report.html"' in index
            status, page, _ = get(airflow, f"{run}/report.html", **headers)
            assert (status, "view/a" in page, EVIL in page) == (200, True, False)
            assert 'href="../index.html"' in page
            status, text, told = get(airflow, f"{run}/run.json", **headers)
            assert (status, told["Content-Type"], json.loads(text)["run_id"]) == (200, "application/json", run)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"{NO_RUN}/report.html", "this is no run of this version"),
        (f"{NO_RUN}/run.json", "this is no run of this version"),
        ("20010101T000000.000000Z/report.html", "there is no such run"),
        (f"{NO_RUN}-old/report.html", "there is no such run"),
        (f"{NO_RUN}%0A/report.html", ""),
        ("../run.json", "there is no such run"),
        ("%2e%2e/run.json", "there is no such run"),
        ("..%2Frun.json", ""), (f"{NO_RUN}/failures.jsonl", ""), ("docs", ""), ("", ""),
    ],
)  # fmt: skip
def test_nothing_else_is_served(airflow: Standalone, token: str, path: str, said: str) -> None:
    status, text, _ = get(airflow, path, Authorization=f"Bearer {token}")
    assert status == 404
    assert said in text


def test_a_run_that_comes_is_shown(airflow: Standalone, folder: Path, token: str) -> None:
    newest = run_ids(folder)[-1]
    later = newest.replace("20", "21", 1)
    shutil.copytree(folder / newest, folder / later)
    try:
        text = (folder / later / "run.json").read_text()
        (folder / later / "run.json").write_text(text.replace(newest, later))
        index = get(airflow, "index.html", Authorization=f"Bearer {token}")[1]
        assert index.index(later) < index.index(newest)
    finally:
        shutil.rmtree(folder / later)


def test_a_folder_that_is_away_is_told_without_its_name(airflow: Standalone, folder: Path, token: str) -> None:
    (run, _) = run_ids(folder)
    file = folder / run / "run.json"
    file.chmod(0)
    moved = file.rename(folder / run / "moved")
    file.mkdir()
    try:
        status, text, _ = get(airflow, f"{run}/report.html", Authorization=f"Bearer {token}")
    finally:
        file.rmdir()
        moved.rename(file).chmod(0o644)
    assert (status, str(folder) in text) == (503, False)
    assert "the server's log says why" in text
    assert "cannot read the runs of audits" in airflow.log.read_text()


def test_a_folder_that_hangs_stops_nobody_else(airflow: Standalone, folder: Path, token: str) -> None:
    """More requests than Airflow has threads, for a file whose opening waits for a writer."""
    place = folder / "20010101T000000.000000Z"
    place.mkdir()
    hanging, moved = place / "run.json", place / "moved"
    os.mkfifo(hanging)
    asked = [http.client.HTTPConnection(urlsplit(airflow.url).netloc, timeout=60) for _ in range(60)]
    try:
        for one in asked:
            path = f"/btrdb/audits/{place.name}/report.html"
            one.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        until_one_waits(hanging)
        for _ in range(10):
            assert airflow.api("GET", "/api/v2/monitor/health")["metadatabase"]["status"] == "healthy"
    finally:
        hanging.rename(moved)
        hanging.write_text("{}")
        os.close(os.open(moved, os.O_RDWR))  # who waits goes on, and reads nothing
        said = {answer(one) for one in asked}
        shutil.rmtree(place)
    assert said == {503, 404}, "those that hung, and those that waited for them"


def until_one_waits(fifo: Path) -> None:
    """Who waits for a writer gets one here, and finds that there is nothing to read; the next one waits then."""
    while True:
        with suppress(OSError):  # nobody waits
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
            return
        time.sleep(0.1)


def answer(connection: http.client.HTTPConnection) -> int:
    with closing(connection):
        return connection.getresponse().status


def test_who_waits_too_long_for_others_is_told_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import HTTPException  # Airflow 2 has none

    from airflow_provider_btrdb.plugins import audit_pages

    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_PATH", str(folder))
    monkeypatch.setattr(audit_pages, "AT_ONCE", asyncio.Semaphore(1))
    monkeypatch.setattr(audit_pages, "PATIENCE", 0.01)

    async def ask() -> None:
        async with audit_pages.AT_ONCE:
            with pytest.raises(HTTPException) as caught:
                await audit_pages.show_index()
        assert (caught.value.status_code, caught.value.detail) == (
            503,
            "the folder of the runs is slow; try again later",
        )
        for _ in range(2):
            assert (await audit_pages.show_index()).status_code == 200

    asyncio.run(ask())


class Remembering(LocalFileSystem):
    """Remembers what it has listed, as the file systems of S3, GCS and Azure do."""

    protocol = "remembering"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix(f"{cls.protocol}://")))

    def ls(self, path: str, detail: bool = False, **kwargs: Any) -> Any:
        if path not in self.dircache:
            self.dircache[path] = super().ls(path, detail=True, **kwargs)
        return self.dircache[path] if detail else [entry["name"] for entry in self.dircache[path]]

    def invalidate_cache(self, path: str | None = None) -> None:
        self.dircache.clear()


@pytest.mark.parametrize("conn_id", ["", "lake"])
def test_object_storage_that_remembers_hides_no_new_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, conn_id: str
) -> None:
    from airflow.sdk import ObjectStoragePath
    from airflow.sdk.io import attach

    from airflow_provider_btrdb.plugins import audit_pages

    fsspec.register_implementation("remembering", Remembering, clobber=True)
    attach("remembering", conn_id or None, fs=Remembering())
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_PATH", f"remembering://{tmp_path}")
    monkeypatch.setenv("AIRFLOW__BTRDB__AUDIT_CONN_ID", conn_id)
    first, second = run_ids(folder)

    def shown() -> int:
        return bytes(asyncio.run(audit_pages.show_index()).body).count(b"/report.html")

    shutil.copytree(folder / first, tmp_path / first)
    assert shown() == 1
    listing = ObjectStoragePath(f"remembering://{tmp_path}", conn_id=conn_id or None)
    assert len(list(listing.iterdir())) == 1
    shutil.copytree(folder / second, tmp_path / second)
    assert len(list(listing.iterdir())) == 1, "it does not remember, so the rest shows nothing"
    assert shown() == 2


# ---------------------------------------------------------------- in a browser


@pytest.fixture
def page(airflow: Standalone, token: str) -> Iterator[Any]:
    """A browser whose user is logged in."""
    driver = pytest.importorskip("chromium", reason="needs websockets to drive Chromium")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium")
    with driver.browser(program, 1200, 800) as opened:
        opened.watch()
        opened.call("Network.setCookie", name="_token", value=token, url=airflow.url)
        yield opened


SAID = ("log", "info", "debug")
TAB = 9
FRAME = "document.querySelector('iframe').contentDocument"
THERE = f"{FRAME}.readyState === 'complete'"


def test_the_menu_leads_to_the_runs_and_these_to_their_pages(airflow: Standalone, folder: Path, page: Any) -> None:
    page.call("Page.navigate", url=f"{airflow.url}/")
    page.press("Browse")
    page.until("[...document.querySelectorAll('a')].some(one => one.innerText.includes('BTrDB audits'))")
    page.value("[...document.querySelectorAll('a')].find(one => one.innerText.includes('BTrDB audits')).click()")
    page.until(f"{THERE} && {FRAME}.querySelector('h1').innerText === 'Audits'")
    page.until(f"{FRAME}.querySelectorAll('th button').length > 5")  # our own script has run
    page.value(f"{FRAME}.querySelector('td a').click()")
    page.until(f"{THERE} && {FRAME}.querySelector('h1').innerText.startsWith('Audit nightly')")
    assert run_ids(folder)[-1] in page.value(f"{FRAME}.body.innerText")
    assert EVIL in page.value(f"{FRAME}.body.innerText")
    assert page.value(f"{FRAME}.querySelectorAll('main script').length") == 0
    page.value(f"{FRAME}.querySelector('dd a').click()")
    page.until(f"{THERE} && {FRAME}.querySelector('h1').innerText === 'Audits'")
    told = {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Page.javascriptDialogOpening"}
    # Airflow's own frame is warned of, since it lets scripts run, and its own scripts say this and that.
    errors = [
        one
        for one in page.events
        if one["method"] in told and '"warning"' not in json.dumps(one) and one["params"].get("type") not in SAID
    ]
    assert errors == []


@pytest.mark.parametrize("name", ["index", "run"])
def test_the_pages_there_are_for_everybody(airflow: Standalone, folder: Path, page: Any, axe: str, name: str) -> None:
    """On a narrow screen, by keyboard, and by what axe-core knows of."""
    path = "index.html" if name == "index" else f"{run_ids(folder)[-1]}/report.html"
    page.call("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=True)
    page.call("Page.navigate", url=f"{airflow.url}/btrdb/audits/{path}")
    page.until("document.readyState === 'complete' && document.querySelector('th button') !== null")
    assert page.value("[innerWidth, document.documentElement.scrollWidth]") == [320, 320]
    violations, holds = look(page, axe)
    assert violations == []
    assert {"color-contrast", "scrollable-region-focusable"} <= holds
    reached = 0
    for _ in range(100):
        page.key("Tab", TAB)
        if page.value("document.activeElement === document.body"):
            break
        assert page.value("getComputedStyle(document.activeElement).outlineStyle") != "none", "one sees where one is"
        reached += 1
    assert reached == page.value("document.querySelectorAll('a, button, .wide, input').length")


def test_who_is_not_logged_in_sees_nothing_in_the_browser(airflow: Standalone, page: Any) -> None:
    page.call("Network.clearBrowserCookies")
    page.call("Page.navigate", url=f"{airflow.url}/btrdb/audits/index.html")
    page.until("location.pathname === '/btrdb/audits/index.html' && document.readyState === 'complete'")
    assert "nightly" not in page.value("document.body.innerText")
    assert "Not authenticated" in page.value("document.body.innerText")
