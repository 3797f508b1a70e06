"""The data directory: one owner at a time, and a FORMAT file that says what is inside.

FORMAT         what wrote it, and PostgreSQL's major version
lock           held with flock while a server runs
secret         the password of PostgreSQL's superuser
postgres/      the cluster: metadata and points
postgres.log   what PostgreSQL complains about
sockets        the path of the short temporary directory where PostgreSQL listens
unsynced       there while the cluster may be ahead of the disk (--durability process)
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from pathlib import Path

from airflow_provider_btrdb.devserver.errors import DevServerError

LAYOUT = 1
UNFINISHED = {"lock", "secret", "postgres.new", "postgres", "postgres.log", "postgres.log.old", "sockets", "unsynced"}


class DataDir:
    """A locked data directory."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DevServerError(f"cannot use data directory {self.path}: {error.strerror}") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise DevServerError(f"data directory {self.path} is locked: another btrdb-devserver uses it") from None

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own directory."""
        return self.path / "postgres"

    @property
    def log(self) -> Path:
        """Where PostgreSQL writes."""
        return self.path / "postgres.log"

    @property
    def sockets(self) -> Path:
        """The note where the sockets are."""
        return self.path / "sockets"

    @property
    def unsynced(self) -> Path:
        """The mark of a cluster that ran without fsync."""
        return self.path / "unsynced"

    def release(self) -> None:
        """Let the next one in."""
        os.close(self._lock)

    def check(self, major: int) -> bool:
        """True if there is a cluster that these binaries can run, False if the directory is fresh.

        What a killed initialisation left behind is removed: nothing was acknowledged before FORMAT was written.
        """
        try:
            lines = (self.path / "FORMAT").read_text().splitlines()
        except FileNotFoundError:
            strangers = {entry.name for entry in self.path.iterdir()} - UNFINISHED
            if strangers:
                self.refuse(f"holds other files ({', '.join(sorted(strangers)[:3])})")
            for name in UNFINISHED - {"lock"}:
                left = self.path / name
                if left.is_dir():
                    shutil.rmtree(left)
                else:
                    left.unlink(missing_ok=True)
            return False
        except (OSError, UnicodeDecodeError):
            self.refuse("has no readable FORMAT file")
        facts = dict(line.split(" ", 1) for line in lines if " " in line)
        if facts.get("btrdb-devserver") != str(LAYOUT):
            self.refuse(f"has format {facts.get('btrdb-devserver', 'unknown')}, this version reads {LAYOUT}")
        if facts.get("postgresql") != str(major):
            self.refuse(
                f"was written by PostgreSQL {facts.get('postgresql', 'unknown')} and the one at hand is {major}: "
                "dump it with the old one and load it into a new directory"
            )
        return True

    def refuse(self, why: str) -> None:
        """Raise the sentence about a directory that cannot be used."""
        raise DevServerError(f"data directory {self.path} {why}")

    def write_secret(self) -> str:
        """A new superuser password."""
        secret = secrets.token_urlsafe(24)
        descriptor = os.open(self.path / "secret", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
        return secret

    def secret(self) -> str:
        """The superuser password."""
        return (self.path / "secret").read_text()

    def write_format(self, major: int) -> None:
        """The last act of initialisation."""
        with (self.path / "FORMAT").open("w") as file:
            file.write(f"btrdb-devserver {LAYOUT}\npostgresql {major}\n")
            file.flush()
            os.fsync(file.fileno())
        directory = os.open(self.path, os.O_RDONLY)
        os.fsync(directory)
        os.close(directory)
