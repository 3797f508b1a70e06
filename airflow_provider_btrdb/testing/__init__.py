"""A BTrDB server for tests: in this process with `devserver()`, or as the real command with `devserver_process()`::

    from airflow_provider_btrdb.testing import devserver

    with devserver() as server:
        ...  # connect to server.endpoint

The in-process form can go wrong on purpose (`server.faults`) and remembers every call (`server.calls`). Both need the
extra: pip install 'airflow-provider-btrdb[devserver]'. Pytest fixtures: `airflow_provider_btrdb.testing.fixtures`.
"""

from __future__ import annotations

from airflow_provider_btrdb.testing._inprocess import RunningServer, devserver
from airflow_provider_btrdb.testing._process import ServerProcess, devserver_process

__all__ = ["RunningServer", "ServerProcess", "devserver", "devserver_process"]
