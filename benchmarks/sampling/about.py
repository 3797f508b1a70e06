"""What must be known of a measurement: when, what, on what, and how busy the machine was."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class About:
    """Begins to watch when it is made."""

    def __init__(self) -> None:
        self._began, self._load = datetime.now(UTC), load()

    def facts(self, runs: int, packages: Iterable[str], **versions: str) -> dict[str, Any]:
        """The head of a file of samples."""
        return {
            "began": self._began.strftime("%Y-%m-%d %H:%M UTC"),
            "runs": runs,
            "commit": _git("rev-parse", "HEAD"),
            "changed": _git("status", "--porcelain", "--", "airflow_provider_btrdb", "benchmarks").splitlines(),
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "load": [self._load, load()],
            "versions": {
                "Python": platform.python_version(),
                "Linux": platform.release(),
                **versions,
                **{name: importlib.metadata.version(name) for name in packages},
            },
        }


def load() -> str:
    """The load of the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
