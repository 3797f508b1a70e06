"""Ports of this machine that stay with who took them, also while nobody listens there."""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def held_port() -> Iterator[int]:
    """A free port of 127.0.0.1 that the system gives to nobody else before the block ends.

    A socket is bound to it that never listens, and so a server that sets SO_REUSEADDR, as they do, can listen there and
    end and listen again. Only Linux allows the two side by side: elsewhere it is 0, and the server takes what it gets.
    """
    if sys.platform != "linux":
        yield 0
        return
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
