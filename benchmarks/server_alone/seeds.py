"""A million streams, put into the server's PostgreSQL by COPY: nobody measures how they came there."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import psycopg
from side_by_side import data

STREAMS = 1_000_000
COUNTED = 3
"""Which tenth of the streams is looked up."""
COLLECTION = f"recorded/{COUNTED}/"


def seed(number: int) -> data.StreamValues:
    """A stream with four tags and three annotations; 1,000 a collection, 100,000 a prefix."""
    _, collection, tags, annotations = data.stream(number, f"recorded/{number // (STREAMS // 10)}")
    return UUID(int=0x51D1 << 112 | number), collection, tags, annotations


def plant(directory: Path) -> None:
    """Fill the data directory of a server that runs."""
    dsn = psycopg.conninfo.make_conninfo(
        host=(directory / "sockets").read_text(),
        user="btrdb_owner",
        password=(directory / "secret").read_text(),
        dbname="btrdb",
    )
    with psycopg.connect(dsn, autocommit=True) as connection:
        into = "COPY btrdb.stream (uuid, collection, name, unit, ingress, distiller, annotations) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(into) as copy:
            for number in range(STREAMS):
                uuid, collection, tags, annotations = seed(number)
                pairs = ",".join(f"{_quoted(key)}=>{_quoted(value)}" for key, value in annotations.items())
                copy.write_row((uuid, collection, *tags.values(), pairs))
        connection.execute("VACUUM ANALYZE btrdb.stream")
        connection.execute("CHECKPOINT")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
