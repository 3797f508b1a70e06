"""Every bound of the server in one place."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one call may ask for, and how much the server keeps in hand."""

    max_message_bytes: int = 64 << 20
    """The largest request or answer message."""
    concurrent_calls: int = 5_000
    """Calls in flight, Subscribe among them; more are refused with RESOURCE_EXHAUSTED."""
    insert_points: int = 100_000
    """The most points of one Insert or ArrowInsert (the official clients send 50,000)."""
    raw_page_points: int = 5_000
    """Points, windows or CSV rows of one page of the plain forms."""
    arrow_page_points: int = 50_000
    """Rows of one page of the Arrow forms."""
    descriptor_page: int = 1_000
    """Stream descriptors, collections or changed ranges of one page."""
    multi_streams: int = 1_000
    """The most streams of one ArrowMultiValues or GenerateCSV."""
    subscriptions: int = 10_000
    """The most streams that one Subscribe call may follow."""
    subscriber_bytes: int = 16 << 20
    """How far a subscriber may fall behind before its call is ended."""
    sql_statement_seconds: float = 30.0
    """PostgreSQL's own limit for each step of one SQLQuery."""
    sql_total_seconds: float = 120.0
    """The longest that one SQLQuery may take, with a slow reader."""
    sql_concurrency: int = 4
    """SQLQuery calls that run at the same time; others wait."""
    sql_row_bytes: int = 4 << 20
    """The largest row that SQLQuery answers (in characters of its JSON)."""
    sql_answer_bytes: int = 1 << 30
    """The largest answer of one SQLQuery."""
    sql_page_bytes: int = 1 << 20
    """About how large a page of SQLQuery is."""
    database_connections: int = 12
    """Connections that calls share for everything but SQLQuery."""
    drain_seconds: float = 10.0
    """How long the server waits for calls in flight when it is told to end."""
