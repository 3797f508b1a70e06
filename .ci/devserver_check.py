"""Starts btrdb-devserver as the user at hand, who is not root, talks to it and ends it. Takes the data folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from airflow_provider_btrdb.client import connect

READY = "btrdb-devserver ready on "

assert os.geteuid() != 0, "this check is about ordinary users"
command = [str(Path(sys.executable).parent / "btrdb-devserver"), "--data", sys.argv[1], "--listen", "127.0.0.1:0"]
with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
    line = server.stdout.readline().strip()
    try:
        assert line.startswith(READY), f"instead of its ready line it says {line!r}"
        with connect(line.removeprefix(READY), connect_timeout=120) as db:
            print(f"user {os.geteuid()} runs BTrDB {db.info()['majorVersion']}")
    finally:
        server.send_signal(signal.SIGTERM)
assert server.returncode == 0, f"it ended with {server.returncode}"
