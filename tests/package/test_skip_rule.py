"""The rules of tests/conftest.py: a skip names the missing capability, and an environment lacks only what it may."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

RULE = Path(__file__).parents[1] / "conftest.py"

TESTS = """
import pytest

def test_named():
    pytest.skip("needs a real server")

@pytest.mark.skip(reason="flaky")
def test_unnamed():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected_failure():
    assert False
"""
MODULES = {
    "test_module_named.py": 'import pytest\npytest.importorskip("no_such_thing", reason="needs no_such_thing")\n',
    "test_module_unnamed.py": 'import pytest\npytest.importorskip("no_such_thing")\n',
}


ENVIRONMENTS = """
["old"]
may_lack = ["needs a real server", "needs no_such_thing"]
["new"]
may_lack = ["needs no_such_thing"]
"""


def outcome(folder: Path, *arguments: str) -> tuple[str, dict[str, int]]:
    """What pytest printed, and its counts."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(RULE.read_text())
    (folder / "environments.toml").write_text(ENVIRONMENTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    counts = re.findall(r"(\d+) (error|failed|passed|skipped|xfailed)", done.stdout.splitlines()[-1])
    return done.stdout, {word: int(number) for number, word in counts}


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one process", "xdist"])
def test_only_skips_that_name_a_capability_pass(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    output, counts = outcome(tmp_path, *workers)
    assert "1 skipped: needs a real server" in output
    assert "1 skipped: needs no_such_thing" in output
    assert "skipped with the reason 'flaky'" in output
    assert "skipped with the reason \"could not import 'no_such_thing'" in output
    assert counts == {"error": 2, "skipped": 2, "xfailed": 1}


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one process", "xdist"])
def test_an_environment_lacks_only_what_is_listed_for_it(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "test_some.py").write_text(
        'import pytest\n\ndef test_named():\n    pytest.skip("needs a real server")\n'
    )
    (tmp_path / "test_module.py").write_text(MODULES["test_module_named.py"])
    assert outcome(tmp_path, *workers, "--environment", "old")[1] == {"skipped": 2}
    output, counts = outcome(tmp_path, *workers, "--environment", "new")
    assert counts == {"failed": 1, "skipped": 1}
    assert "'needs a real server', not listed in environments.toml for this environment" in output
