"""What `airflow.cfg` says below `[btrdb]`; `get_provider_info` describes these settings to Airflow."""

from __future__ import annotations

from urllib.parse import urlsplit

from airflow_provider_btrdb._airflow import conf

SECTION = "btrdb"
PAGES = "/btrdb/audits"
"""Where Airflow's server has the pages of audits, behind the path of its own URL."""


def pages_wanted() -> bool:
    """Whether Airflow is to show the pages of audits."""
    return bool(conf.getboolean(SECTION, "audit_page", fallback=False))


def pages_shown() -> bool:
    """Whether it can show them, too, which Airflow 3.1 was the first to do."""
    from airflow.providers.common.compat.sdk import AirflowPlugin

    return pages_wanted() and hasattr(AirflowPlugin, "external_views")


def audit_path() -> str:
    """The folder with the runs that are shown, without a slash at its end; "" when none is set."""
    return str(conf.get(SECTION, "audit_path", fallback="")).rstrip("/")


def audit_conn_id() -> str | None:
    """The Airflow connection of the object storage of that folder."""
    return conf.get(SECTION, "audit_conn_id", fallback="") or None


def pages_url() -> str:
    """The path of the pages in a browser, which differs from `PAGES` when Airflow is not at the top of its host."""
    base = urlsplit(str(conf.get("api", "base_url", fallback="") or "")).path
    return f"{base.rstrip('/')}{PAGES}"
