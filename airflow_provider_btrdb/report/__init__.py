"""Pages about what a feature found: one neutral model, set as HTML or as text."""

from __future__ import annotations

from airflow_provider_btrdb.report.audit_index import KeptRun, audits_page, index_page, run_page, store_pages
from airflow_provider_btrdb.report.audit_page import audit_page
from airflow_provider_btrdb.report.html import page_html
from airflow_provider_btrdb.report.pages import Badge, Bar, Cell, Fact, Page, Picture, Section, Table
from airflow_provider_btrdb.report.plan_page import plan_page
from airflow_provider_btrdb.report.text import page_text

__all__ = [
    "Badge",
    "Bar",
    "Cell",
    "Fact",
    "KeptRun",
    "Page",
    "Picture",
    "Section",
    "Table",
    "audit_page",
    "audits_page",
    "index_page",
    "page_html",
    "page_text",
    "plan_page",
    "run_page",
    "store_pages",
]
