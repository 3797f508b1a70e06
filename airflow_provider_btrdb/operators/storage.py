"""Files of tasks on object storage: read whole, and written so that a name stands for a whole file or for none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any
from uuid import uuid4

from airflow_provider_btrdb._airflow import AirflowFailException


@contextmanager
def whole_file(path: str, conn_id: str | None) -> Iterator[tuple[IO[bytes], list[int]]]:
    """A file that appears under its name only when the block ends well; its size is in the list then.

    fsspec commits what was written whenever a file is closed, also after an error, hence the temporary name.
    """
    target = stored(path, conn_id)
    # Through the file system below, because ObjectStoragePath reports every path it writes as lineage.
    storage = target.fs
    temporary = str(target.parent.path).rstrip("/") + f"/.{target.name}.{uuid4().hex}.part"
    if target.protocol in ("", "file"):
        storage.makedirs(target.parent.path, exist_ok=True)
    size: list[int] = []
    try:
        with storage.open(temporary, "wb") as file:
            yield file, size
        size.append(storage.size(temporary))
        storage.mv(temporary, target.path)
    except BaseException:
        with suppress(FileNotFoundError):
            storage.rm(temporary)
        raise


def write_file(path: str, conn_id: str | None, data: bytes) -> None:
    """One whole file."""
    with whole_file(path, conn_id) as (file, _):
        file.write(data)


def read_file(path: str, conn_id: str | None, what: str) -> bytes:
    """All of a file. Fails for good when there is none; `what` names it in the error."""
    data = read_if_there(path, conn_id)
    if data is None:
        raise AirflowFailException(f"there is no {what} at {path}")
    return data


def read_if_there(path: str, conn_id: str | None) -> bytes | None:
    """All of a file; None where there is none."""
    target = stored(path, conn_id)
    try:
        with target.fs.open(target.path, "rb") as file:
            data: bytes = file.read()
            return data
    except (FileNotFoundError, IsADirectoryError):
        return None


def read_text(path: str, conn_id: str | None, what: str) -> str:
    """All of a file in UTF-8; a byte order mark is left out. Fails for good when there is none, or it is no text."""
    try:
        return read_file(path, conn_id, what).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AirflowFailException(f"{path} is not UTF-8 text") from None


def stored(path: str, conn_id: str | None) -> Any:
    """A path with the methods of pathlib; nothing is looked up."""
    from airflow.providers.common.compat.sdk import ObjectStoragePath

    # A plain path, since ObjectStoragePath of Airflow 2.11 does not get along with file:// of newer universal_pathlib.
    return ObjectStoragePath(path.removeprefix("file://"), conn_id=conn_id)
