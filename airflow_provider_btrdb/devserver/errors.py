"""The ways in which the server says no: a BTrDB stat, a gRPC status, or a sentence for the person who starts it."""

from __future__ import annotations

import grpc

from airflow_provider_btrdb.protocol import Code


class Refusal(Exception):
    """A call that ends with `Status{code, msg}` inside a successful answer."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(f"{int(code)}: {msg}")
        self.code = int(code)
        self.msg = msg


class StatusError(Exception):
    """A call that ends with a gRPC status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class DevServerError(Exception):
    """The server cannot start, or cannot go on; the text is one sentence for its owner."""


def no_such_stream() -> Refusal:
    """Refusal of every call but StreamInfo for an unknown uuid."""
    return Refusal(Code.NO_SUCH_STREAM, "stream does not exist")


def denied(permission: str, collection: str) -> StatusError:
    """Refusal of a key that lacks a permission."""
    return StatusError(
        grpc.StatusCode.PERMISSION_DENIED, f'user does not have permission "{permission}" on "{collection}"'
    )
