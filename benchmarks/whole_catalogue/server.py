"""A development server on a directory, with SQL or without, that counts its calls and how many were under way at once.

    python -m whole_catalogue.server API_KEY FOLDER on|off STREAMS [points]

It fills the directory if it is new, prints its endpoint, answers each line of its standard input with the counts since
the last one as JSON, and ends with it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.testing import devserver
from whole_catalogue import catalogue


class Peak(threading.Thread):
    """The most calls under way that a look every millisecond has seen."""

    def __init__(self, dispatcher: object) -> None:
        super().__init__(daemon=True)
        self._dispatcher = dispatcher
        self.most = 0

    def run(self) -> None:
        """Look."""
        while True:
            self.most = max(self.most, self._dispatcher._in_flight)  # type: ignore[attr-defined]
            time.sleep(0.001)


def main(api_key: str, folder: str, sql: str, streams: str, points: str = "") -> None:
    """Serve until standard input ends."""
    fresh = not Path(folder).exists()
    with devserver(data=folder, api_key=api_key, sql=sql == "on") as server:
        if fresh:
            catalogue.plant(server.dsn, int(streams))
        if points:
            _points(server.endpoint, api_key)
            catalogue.plant_points(server.dsn, int(streams))
        peak = Peak(server._server._dispatcher)
        peak.start()
        print(server.endpoint, flush=True)
        for _ in sys.stdin:
            print(json.dumps({"calls": dict(server.calls.counts()), "at_once": peak.most}), flush=True)
            server.calls.clear()
            peak.most = 0


def _points(endpoint: str, api_key: str) -> None:
    now = time.time_ns()
    with connect(endpoint, api_key) as db:
        for number, age_s in ((0, catalogue.FRESH_S), (1, 30 * 86_400)):
            first = now - age_s * 10**9
            points = [(first + second * 10**9, 1.0) for second in range(10)]
            db.stream_from_uuid(catalogue.uuid_of(number)).insert(points)


if __name__ == "__main__":
    main(*sys.argv[1:])
