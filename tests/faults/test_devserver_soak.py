"""The small form of `make soak`: every part of tools/soak, with a seed of its own each time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "tools" / "soak"


def soak(*arguments: object) -> dict[str, object]:
    """What one part found; its words, the seed among them, if anything was wrong."""
    seed = random.randrange(2**32)
    command = [sys.executable, str(SOAK), *map(str, arguments), "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    (found,) = json.loads(done.stdout).values()
    return found


def test_kill_9_loses_nothing():
    found = soak("kills", "--kills", 3)
    assert [found[f"{kind} killed"] for kind in ("server", "postgresql", "postgresql child")] == [1, 1, 1]
    assert (found["lost"], found["half-written"], found["orphans"]) == (0, 0, 0)
    assert found["acknowledged writes"] >= 12, "each of four writers was answered before each kill"


def test_malformed_requests_are_refused_in_chosen_words():
    found = soak("malformed", "--requests", 5_000)
    assert found["requests"] == 5_000
    for outcome in ("answer", "stat", "INTERNAL", "UNKNOWN", "RESOURCE_EXHAUSTED"):
        assert found[outcome] > 0, "requests of every kind are sent"


def test_small_inserts_read_like_large_ones():
    found = soak("inserts", "--inserts", 700)
    assert (found["writes"], found["old_versions_compared"]) == (700, 10)
    assert found["live_chunks"] <= 100


@pytest.mark.parametrize("arguments", [["nonsense"], ["kills", "--kills", "x"]])
def test_wrong_arguments_are_no_soak(arguments):
    done = subprocess.run([sys.executable, str(SOAK), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
