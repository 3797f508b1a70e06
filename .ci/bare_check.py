"""Runs client tests with another Python, which has the client's own dependencies only, against a server of this one.

Takes that Python. The server needs pyarrow; the process of the client must not have it.
"""

import os
import subprocess
import sys
from pathlib import Path

from airflow_provider_btrdb.testing import devserver_process

ROOT = Path(__file__).resolve().parent.parent
ABSENT = ("pyarrow", "pandas", "polars", "yaml", "airflow", "btrdb", "psycopg")
CONTRACT = ("calls", "stream", "streamset", "without_extras")
UNIT = (
    "config",
    "errors",
    "identity",
    "insert_loops",
    "lifecycle",
    "models",
    "page_loops",
    "policy",
    "rpc_loops",
    "sqltext",
)

bare = sys.argv[1]
script = f"import importlib.util as u; print(*[name for name in {ABSENT!r} if u.find_spec(name)])"
found = subprocess.run([bare, "-c", script], capture_output=True, text=True, check=True).stdout.strip()
assert not found, f"the environment is not bare, it has {found}"
tests = [f"tests/contract/test_client_{name}.py" for name in CONTRACT]
tests += [f"tests/unit/test_client_{name}.py" for name in UNIT]
with devserver_process(api_key="bare-key") as server:
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "BTRDB_TEST_ENDPOINT": server.endpoint,
        "BTRDB_TEST_API_KEY": "bare-key",
    }
    command = [bare, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    status = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
sys.exit(status)
