"""The pages of audits as Airflow's server shows them: made of stored runs, for those who are logged in.

BTrDB is never asked. A page is set from `run.json`, not taken from the folder, so that whoever can write there cannot
bring scripts into Airflow's pages.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, lru_cache
from typing import Any

# At the top, because FastAPI looks up the names of annotations here.
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import requires_access_view
from airflow.providers.common.compat.sdk import ObjectStoragePath
from fastapi import Depends, FastAPI, HTTPException, Response
from fastapi.concurrency import run_in_threadpool

from airflow_provider_btrdb import settings
from airflow_provider_btrdb.audit import RunResult, load
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.report import Page, index_page, page_html, run_page

log = logging.getLogger(__name__)

RUN_ID = re.compile(r"\d{8}T\d{6}\.\d{6}Z(-\d+of\d+)?")
"""Nothing else is looked for in the folder."""
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'self'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
NO_RUN = "there is no such run"
REMEMBERED = 1_000
"""Runs, without their failures: a run that is stored never changes."""
AT_ONCE = asyncio.Semaphore(4)
"""Pages that are made at the same time. Airflow's own answers need the threads too: a folder that hangs must not have
them all."""
PATIENCE = 30
"""Seconds that a page waits for others."""


@cache
def application() -> FastAPI:
    """The application, to be mounted; every path of it needs a user who may see Airflow's plugins."""
    app = FastAPI(
        title="BTrDB audits",
        openapi_url=None,
        dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
    )
    app.get("/index.html")(show_index)
    app.get("/{run_id}/report.html")(show_run)
    app.get("/{run_id}/run.json")(give_run)
    return app


async def show_index() -> Response:
    """All runs."""
    return await _answer(lambda: _html(index_page(_folder(), page_of=lambda _: "report.html", read=_brief)))


async def show_run(run_id: str) -> Response:
    """One run."""
    return await _answer(lambda: _html(run_page(load(_place(run_id)))))


async def give_run(run_id: str) -> Response:
    """One run as JSON."""
    return await _answer(
        lambda: Response(load(_place(run_id)).model_dump_json(indent=1), media_type="application/json", headers=HEADERS)
    )


async def _answer(make: Callable[[], Response]) -> Response:
    """What is made of the folder, in a thread."""
    try:
        async with asyncio.timeout(PATIENCE):
            await AT_ONCE.acquire()
    except TimeoutError:
        raise HTTPException(503, "the folder of the runs is slow; try again later") from None
    try:
        with _readable():
            return await run_in_threadpool(make)
    finally:
        AT_ONCE.release()


def _html(page: Page) -> Response:
    return Response(page_html(page), media_type="text/html", headers=HEADERS)


def _place(run_id: str) -> Any:
    if RUN_ID.fullmatch(run_id) is None:
        raise HTTPException(404, NO_RUN)
    return _folder() / run_id


def _folder() -> Any:
    path = settings.audit_path()
    if not path:
        raise HTTPException(503, "[btrdb] audit_path is not set: it names the folder of the runs")
    folder = ObjectStoragePath(path, conn_id=settings.audit_conn_id())
    # The file systems of object storage remember what they listed for as long as the process lives. From Airflow 3.2
    # on, a path asks one that it wraps, which need not be the one that it shows.
    getattr(folder, "__wrapped__", folder).fs.invalidate_cache()
    return folder


@lru_cache(maxsize=REMEMBERED)
def _brief(place: Any) -> RunResult:
    return load(place, failures=False)


@contextmanager
def _readable() -> Iterator[None]:
    """What goes wrong with the folder is told in the server's log, where paths and names may stand."""
    try:
        yield
    except HTTPException:
        raise
    except FileNotFoundError:
        raise HTTPException(404, NO_RUN) from None
    except InputError:
        raise HTTPException(404, "this is no run of this version") from None
    except Exception as error:
        log.exception("cannot read the runs of audits")
        raise HTTPException(503, "the folder of the runs cannot be read; the server's log says why") from error
