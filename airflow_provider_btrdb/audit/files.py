"""Files that are there whole or not at all, whoever looks, and whatever ends the writing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from uuid import uuid4


def write_whole(path: Any, data: bytes) -> None:
    """Write a file, in place of one that is there; what cannot be written leaves all as it was.

    `path` is pathlib's, or one of object storage, which shows what was written only once the file is closed.
    """
    if getattr(path, "protocol", "") not in ("", "file"):
        with path.open("wb") as file:
            file.write(data)
        return
    target = Path(getattr(path, "path", path))
    temporary = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
