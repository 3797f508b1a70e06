"""The plugin that puts the pages of audits into Airflow's, for those who ask for it with `[btrdb] audit_page = True`.

Airflow loads plugins in every process, so no web framework is imported here; that waits for the first request.
"""

from __future__ import annotations

import logging
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_provider_btrdb.settings import PAGES, pages_shown, pages_url, pages_wanted

log = logging.getLogger(__name__)

NAME = "BTrDB audits"


async def serve(scope: Any, receive: Any, send: Any) -> None:
    """The pages as an ASGI application, made when they are asked for."""
    from airflow_provider_btrdb.plugins.audit_pages import application

    await application()(scope, receive, send)


def _parts() -> tuple[list[Any], list[Any]]:
    """The application and the entry of the menu, where they are wanted."""
    if not pages_shown():
        if pages_wanted():
            log.warning("[btrdb] audit_page needs Airflow 3.1 or later: there are no pages of audits here")
        return [], []
    view = {
        "name": NAME,
        "href": f"{pages_url()}/index.html",
        "destination": "nav",
        "category": "browse",
        "url_route": "btrdb-audits",
    }
    return [{"name": NAME, "app": serve, "url_prefix": PAGES}], [view]


class BTrDBAuditsPlugin(AirflowPlugin):
    """Nothing unless it is wanted; then "BTrDB audits" below "Browse", and what it shows."""

    name = "btrdb_audits"
    fastapi_apps, external_views = _parts()
