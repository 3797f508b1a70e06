"""A page as one HTML file: no network, readable without its script, which only adds search and sorting."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources

import jinja2

from airflow_provider_btrdb.report.pages import Page
from airflow_provider_btrdb.report.pictures import drawn


def page_html(page: Page) -> str:
    """The whole file. Its policy lets no script run but our own, whatever a stream is called."""
    style, script = _file("page.css"), _file("page.js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    return _template().render(page=page, style=style, script=script, policy=policy, drawn=drawn)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_file("page.html.j2"))


@cache
def _file(name: str) -> str:
    return (resources.files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
