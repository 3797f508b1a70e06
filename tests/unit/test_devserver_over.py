"""A call that is over before it is answered: there is nobody to tell anything, and nothing to log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import grpc
import pytest

from airflow_provider_btrdb.devserver.auth import no_keys
from airflow_provider_btrdb.devserver.dispatch import Dispatcher, Handlers
from airflow_provider_btrdb.devserver.errors import StatusError


class Over:
    """What gRPC gives of a call, in the moment between its end and the cancellation of its task."""

    def invocation_metadata(self) -> tuple[()]:
        return ()

    async def send_initial_metadata(self, _: Any) -> None:
        raise grpc.aio.InternalError("failed")

    async def abort(self, *_: Any) -> None:
        raise grpc.aio.InternalError("failed")

    async def write(self, _: Any) -> None:
        raise grpc.aio.InternalError("failed")


async def accepts(call: Any, _: Any) -> Any:
    await call.accept()
    yield b""


async def refuses(call: Any, _: Any) -> Any:
    raise StatusError(grpc.StatusCode.UNKNOWN, "no")
    yield


async def answers(call: Any, _: Any) -> Any:
    yield b""


@pytest.mark.parametrize("handler", [accepts, refuses, answers])
def test_what_cannot_be_sent_any_more_ends_as_cancelled(caplog: pytest.LogCaptureFixture, handler: Any) -> None:
    dispatcher = Dispatcher(Handlers({}, {"Subscribe": handler}, frozenset()), no_keys(), None, None)
    serve = dispatcher._by_path["/v5api.BTrDB/Subscribe"].stream_stream
    with caplog.at_level(logging.INFO), pytest.raises(asyncio.CancelledError):
        asyncio.run(serve(b"", Over()))
    assert caplog.records == []
