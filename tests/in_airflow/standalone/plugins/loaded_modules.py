"""Tells test_standalone.py what Airflow's API server has imported."""

from __future__ import annotations

import sys

from airflow.plugins_manager import AirflowPlugin
from fastapi import FastAPI

app = FastAPI()


@app.get("/")
def loaded() -> list[str]:
    return sorted(sys.modules)


class LoadedModules(AirflowPlugin):
    name = "loaded_modules"
    fastapi_apps = [{"app": app, "url_prefix": "/loaded-modules", "name": "loaded modules"}]  # noqa: RUF012  # Airflow's way
