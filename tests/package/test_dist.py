"""What `make dist` builds: the files in wheel and sdist, and an installation of the wheel as a user would have it."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest

import airflow_provider_btrdb
from airflow_provider_btrdb.get_provider_info import get_provider_info

# One group: the workers share nothing, so each would build and install for itself.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
VERSION = airflow_provider_btrdb.__version__
STEM = f"airflow_provider_btrdb-{VERSION}"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    """The command's output; its failure shows all of it."""
    done = subprocess.run(
        command, cwd=cwd, env=env, check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def tool(name: str) -> str:
    """A command of the environment that runs the tests."""
    return str(Path(sys.executable).parent / name)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with wheel and sdist; the wheel is built from the sdist, so the sdist has all that a build needs."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=ROOT)
    return out


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Iterator[zipfile.ZipFile]:
    with zipfile.ZipFile(dist / f"{STEM}-py3-none-any.whl") as opened:
        yield opened


def sources() -> set[str]:
    """The package's files in the work tree, without what Python caches, which comes and goes while other tests run."""
    found = (path for path in (ROOT / "airflow_provider_btrdb").rglob("*") if "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in found if path.is_file()}


def test_the_wheel_has_the_package_as_a_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    metadata = {name for name in names if name.startswith(f"{STEM}.dist-info/")}
    assert names - metadata == sources()
    assert {"airflow_provider_btrdb/py.typed", "airflow_provider_btrdb/wire/btrdb_v5_pb2.py"} <= names
    assert f"{STEM}.dist-info/licenses/LICENSE" in metadata


def test_the_metadata_is_what_airflow_goes_by(wheel: zipfile.ZipFile) -> None:
    metadata = Parser().parsestr(wheel.read(f"{STEM}.dist-info/METADATA").decode())
    points = wheel.read(f"{STEM}.dist-info/entry_points.txt").decode()
    assert metadata["Name"] == get_provider_info()["package-name"]
    assert metadata["Version"] == VERSION
    assert "[apache_airflow_provider]" in points
    assert "provider_info = airflow_provider_btrdb.get_provider_info:get_provider_info" in points


def test_the_sdist_has_what_a_build_and_a_reader_need(dist: Path) -> None:
    with tarfile.open(dist / f"{STEM}.tar.gz") as archive:
        names = {name.removeprefix(f"{STEM}/") for name in archive.getnames()}
    package = sources()
    needed = {"LICENSE", "README.md", "SECURITY.md", "CHANGELOG.md", "pyproject.toml", "protos/btrdb_v5.proto"}
    assert package | needed <= names
    others = {name.split("/")[0] for name in names - package} - {"airflow_provider_btrdb"}
    assert others <= {name.split("/")[0] for name in needed} | {"PKG-INFO", ".gitignore"}


def test_the_index_would_accept_both(dist: Path) -> None:
    run(tool("twine"), "check", "--strict", *dist.iterdir(), cwd=ROOT)


def test_the_installed_wheel_is_a_provider_to_airflow(dist: Path, tmp_path: Path) -> None:
    """In an environment of its own, with the locked versions as constraints and no extras."""
    environment = tmp_path / "env"
    python = environment / "bin" / "python"
    uv = tool("uv")
    run(uv, "venv", "--python", sys.executable, environment, cwd=tmp_path)
    constraints = ROOT / "requirements-dev.txt"
    wheel = dist / f"{STEM}-py3-none-any.whl"
    run(uv, "pip", "install", "--python", python, "--constraint", constraints, wheel, cwd=tmp_path)
    run(uv, "pip", "check", "--python", python, cwd=tmp_path)

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW_", "PYTHON", "COV_"))}
    env = clean | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }
    described = run(
        environment / "bin" / "airflow", "providers", "get", "airflow-provider-btrdb", cwd=tmp_path, env=env
    )
    assert VERSION in described
    hooks = run(environment / "bin" / "airflow", "providers", "hooks", "--output", "json", cwd=tmp_path, env=env)
    assert "airflow_provider_btrdb.hooks.btrdb.BTrDBHook" in hooks
    client = "import airflow_provider_btrdb.client, sys; print(sys.modules['airflow_provider_btrdb'].__file__)"
    assert str(environment) in run(python, "-c", client, cwd=tmp_path, env=env)
