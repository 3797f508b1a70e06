"""A development server that counts its calls.

Run as a process: it prints its endpoint, answers each line of its standard input with the counts since the last one as
JSON, and ends with it. PostgreSQL's statistics are brought up to date each time.
"""

from __future__ import annotations

import json
import sys

from airflow_provider_btrdb.testing import devserver


def main(api_key: str) -> None:
    """Serve until standard input ends."""
    with devserver(api_key=api_key, durability="full") as server:
        print(server.endpoint, flush=True)
        for _ in sys.stdin:
            print(json.dumps({"calls": dict(server.calls.counts())}), flush=True)
            server.calls.clear()
            # Or PostgreSQL would do it within a minute, and be slow until then.
            server.sql_as_owner("ANALYZE btrdb.stream")


if __name__ == "__main__":
    main(sys.argv[1])
