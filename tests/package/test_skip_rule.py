"""The rule of tests/conftest.py: a skip names the missing capability, and the run lists it."""

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


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["one process", "xdist"])
def test_only_skips_that_name_a_capability_pass(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(RULE.read_text())
    (tmp_path / "test_some.py").write_text(TESTS)
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--continue-on-collection-errors", *workers],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1, done.stdout
    assert "1 skipped: needs a real server" in done.stdout
    assert "1 skipped: needs no_such_thing" in done.stdout
    assert "skipped with the reason 'flaky'" in done.stdout
    assert "skipped with the reason \"could not import 'no_such_thing'" in done.stdout
    closing = done.stdout.splitlines()[-1]
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (error|failed|skipped|xfailed)", closing)}
    assert counts == {"error": 2, "skipped": 2, "xfailed": 1}
