"""Ill-treat a development server and prove that nothing is lost: kill -9, malformed requests, many small inserts.

    python tools/soak                                        the full form; make soak also records it in docs/soak.md
    python tools/soak kills --kills 3 --seed 7               one part, smaller

Prints one JSON object per part and ends with 1 if anything was wrong. `make test` runs a small form of every part.
Everything happens on loopback and in a temporary directory.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kills
import malformed
import small_inserts

DOCUMENT = Path(__file__).parents[2] / "docs" / "soak.md"

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "kills": lambda given: kills.run(given.kills, given.seed),
    "malformed": lambda given: malformed.run(given.requests, given.seed),
    "inserts": lambda given: small_inserts.run(given.inserts, given.seed),
}


def main() -> int:
    """0 if everything was right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all if none is named")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--inserts", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="repeats a run, as far as threads allow")
    parser.add_argument("--record", action="store_true", help="add the results to docs/soak.md")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # and so end the servers
    print(f"seed {given.seed}", file=sys.stderr, flush=True)
    began, load = datetime.now(UTC), _load()
    found = {}
    for part in given.parts or PARTS:
        found[part] = PARTS[part](given)
        print(json.dumps({part: found[part]}), flush=True)
    if given.record:
        with DOCUMENT.open("a") as document:
            document.write(_section(began, load, given.seed, found))
    return 1 if any(result["wrong"] for result in found.values()) else 0


def _section(began: datetime, load: str, seed: int, found: dict[str, dict[str, Any]]) -> str:
    """What is added to the document."""
    git = ["git", "-C", str(DOCUMENT.parent)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout[:12]
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--", "../airflow_provider_btrdb", "../tools"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    state = f"`{commit}`{' with changes that are not committed' if changed else ''}"
    lines = [
        f"\n### {began:%Y-%m-%d %H:%M} UTC\n",
        f"Commit {state}, seed {seed}, {os.cpu_count()} cores, load {load} / {_load()} at the beginning and the end.\n",
    ]
    for part, result in found.items():
        facts = {key.replace("_", " "): value for key, value in result.items() if key != "wrong"}
        wrong = "nothing wrong" if not result["wrong"] else f"**wrong: {'; '.join(result['wrong'])}**"
        lines.append(
            f"- {part}: " + ", ".join(f"{key} {_number(value)}" for key, value in facts.items()) + f"; {wrong}"
        )
    return "\n".join(lines) + "\n"


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
