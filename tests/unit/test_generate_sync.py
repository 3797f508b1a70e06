"""The generator of the synchronous client: what it makes, and what it refuses to make."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIENT = Path("airflow_provider_btrdb", "client")

pytestmark = pytest.mark.skipif(
    not Path(sys.executable).with_name("ruff").exists(), reason="needs ruff beside the interpreter"
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of what the generator reads and writes, and of the modules that tell ruff which imports are our own."""
    for part in ("client", "wire"):
        # What Python caches comes and goes while other tests run.
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / CLIENT.parent / part, tmp_path / CLIENT.parent / part, ignore=ignore)
    for name in ("__init__.py", "protocol.py"):
        shutil.copy(ROOT / CLIENT.parent / name, tmp_path / CLIENT.parent)
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "generate_sync.py", tmp_path / "tools")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def _run(tree: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    script = tree / "tools" / "generate_sync.py"
    return subprocess.run(
        [sys.executable, str(script), *arguments], cwd=cwd or tree, capture_output=True, text=True, check=False
    )


def _edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def _twins(tree: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (tree / CLIENT / "_sync").glob("*.py")}


def test_the_twins_of_the_repository_are_fresh(tree: Path) -> None:
    run = _run(tree, "--check")
    assert (run.returncode, run.stdout) == (0, "_sync is fresh\n")


def test_the_twins_are_made_again_byte_for_byte(tree: Path) -> None:
    before = _twins(tree)
    shutil.rmtree(tree / CLIENT / "_sync")
    assert _run(tree).returncode == 0
    assert _twins(tree) == before
    assert len(before) == len(list((tree / CLIENT / "_aio").glob("*.py")))


def test_nothing_asynchronous_is_left_and_every_name_is_there() -> None:
    for source in (ROOT / CLIENT / "_aio").glob("*.py"):
        twin = (ROOT / CLIENT / "_sync" / source.name).read_text()
        assert not re.search(r"\b(async|await|asyncio|grpc\.aio|__a(?:enter|exit|iter|next)__|Async\w+)\b", twin), (
            source.name
        )
        names = re.findall(r"^ *(?:async )?def (\w+)", source.read_text(), re.MULTILINE)
        made = re.findall(r"^ *def (\w+)", twin, re.MULTILINE)
        assert made == [re.sub(r"^__a(enter|exit|iter|next)__$", r"__\1__", name) for name in names]


@pytest.mark.parametrize("name", ["calls.py", "__init__.py"])
def test_an_edited_twin_is_noticed_and_named(tree: Path, name: str) -> None:
    path = tree / CLIENT / "_sync" / name
    path.write_text(path.read_text() + "\nextra = 1\n")
    before = _twins(tree)
    run = _run(tree, "--check")
    assert run.returncode == 1
    assert f"_sync is stale ({name})" in run.stderr
    assert _twins(tree) == before, "--check only compares"


def test_an_edited_source_is_noticed(tree: Path) -> None:
    source = tree / CLIENT / "_aio" / "calls.py"
    source.write_text(f"{source.read_text()}\nEXTRA = 1\n")
    assert "_sync is stale (calls.py)" in _run(tree, "--check").stderr


@pytest.mark.parametrize("change", ["missing", "left over"])
def test_a_missing_or_left_over_twin_is_noticed_and_mended(tree: Path, change: str) -> None:
    before = _twins(tree)
    folder = tree / CLIENT / "_sync"
    if change == "missing":
        (folder / "stream.py").unlink()
    else:
        (folder / "gone.py").write_text("")
    assert f"({'stream.py' if change == 'missing' else 'gone.py'})" in _run(tree, "--check").stderr
    assert _run(tree).returncode == 0
    assert _twins(tree) == before


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_a_rule_that_matches_nothing_is_refused(tree: Path, arguments: tuple[str, ...]) -> None:
    _edit(tree / "tools" / "generate_sync.py", "RULES = [\n", 'RULES = [\n    (r"async never", "never"),\n')
    before = _twins(tree)
    run = _run(tree, *arguments)
    assert run.returncode == 1
    assert "these substitutions matched nothing: async never" in run.stderr
    assert _twins(tree) == before


@pytest.mark.parametrize(
    "line",
    [
        "x = asyncio.Future()",
        "async lambda: None",
        "class AsyncOther: pass",
        "from contextlib import asynccontextmanager",
        "y = aclose(x)",
    ],
)
def test_what_no_rule_covers_is_refused_with_its_line(tree: Path, line: str) -> None:
    source = tree / CLIENT / "_aio" / "streamset.py"
    text = source.read_text()
    source.write_text(f"{text}\n{line}\n")
    before = _twins(tree)
    run = _run(tree)
    assert run.returncode == 1
    assert re.search(rf"streamset\.py, line {text.count(chr(10)) + 2}: no rule covers", run.stderr)
    assert _twins(tree) == before


@pytest.mark.parametrize("line", ["z = x.aclose()", "z = aio.x"])
def test_asynchronous_words_without_async_in_them_are_refused_too(tree: Path, line: str) -> None:
    source = tree / CLIENT / "_aio" / "streamset.py"
    source.write_text(f"{source.read_text()}\n{line}\n")
    run = _run(tree)
    assert run.returncode == 1
    assert "no rule covers" in run.stderr


def test_the_folder_it_runs_in_does_not_matter(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert _run(tree, "--check", cwd=elsewhere).returncode == 0


def test_an_unknown_argument_writes_nothing(tree: Path) -> None:
    (tree / CLIENT / "_sync" / "stream.py").unlink()
    assert _run(tree, "--chekc").returncode != 0
    assert "stream.py" not in _twins(tree)
