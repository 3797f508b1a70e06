"""A development server in a process of its own that tells how often it was called."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any


class CountingServer:
    """Prints its endpoint, then answers each line of its standard input with its counts since the last one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._asked, self._answers = process.stdin, process.stdout
        self.endpoint = self._answers.readline().strip()

    def counts(self) -> dict[str, Any]:
        """Calls of each method since the last time under `calls`, without the question who the server is."""
        print("counts", file=self._asked, flush=True)
        counts: dict[str, Any] = json.loads(self._answers.readline())
        counts["calls"].pop("Info", None)
        return counts


@contextlib.contextmanager
def counting_server(module: str, *arguments: str) -> Iterator[CountingServer]:
    """Run a module that serves until its standard input ends."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        try:
            yield CountingServer(process)
        finally:
            process.stdin.close()
