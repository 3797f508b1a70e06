"""A port that is held: a server comes and goes there, and nobody else gets it meanwhile."""

from __future__ import annotations

import socket
import sys

import pytest

from airflow_provider_btrdb.testing import devserver_process
from airflow_provider_btrdb.testing._ports import held_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs Linux, where a port can be held for a server")


def refused(port: int) -> bool:
    """To somebody who has no right to a port that is bound; whoever asks for port 0 is given none of those either."""
    with socket.socket() as other:
        try:
            other.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def test_a_held_port_is_for_servers_and_for_nobody_else() -> None:
    with held_port() as port, held_port() as another:
        assert port != another
        for _ in range(2):
            assert refused(port)
            with (
                socket.create_server(("127.0.0.1", port)) as server,
                socket.create_connection(("127.0.0.1", port)),
            ):
                server.accept()[0].close()


def test_a_server_that_was_killed_keeps_its_port() -> None:
    with devserver_process() as process:
        endpoint = process.endpoint
        process.kill()
        assert refused(int(endpoint.rpartition(":")[2]))
        process.start()
        assert process.endpoint == endpoint
