"""The two ways in which BTrDB fails -> one error tree: a gRPC status, and a Status inside a reply.

Numbers decide, never message text, with two exceptions: the text that the protocol fixes for an unknown uuid, and
gRPC's own sentence about a message over its limit, which has no number to tell it from a server asking for fewer calls.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any
from uuid import UUID

import grpc

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.client.config import ConnectionConfig, endpoints_of, is_loopback, split_endpoint
from airflow_provider_btrdb.client.trust import source_of
from airflow_provider_btrdb.protocol import UNKNOWN_STREAM_TEXT
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

_BY_GRPC_CODE: dict[grpc.StatusCode, type[errors.BTrDBError]] = {
    grpc.StatusCode.UNAVAILABLE: errors.ServerUnavailableError,
    # Not by us: who cancels a call here does not ask for its status. A server or proxy that goes down does this.
    grpc.StatusCode.CANCELLED: errors.ServerUnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    grpc.StatusCode.UNAUTHENTICATED: errors.AuthenticationError,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDeniedError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.RateLimitedError,
    grpc.StatusCode.UNIMPLEMENTED: errors.NotSupportedError,
}

_MESSAGE_OVER_LIMIT = re.compile(r"message larger than max")

_LOSES_REPLY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.ABORTED,
    }
)
"""After these the server may have done the work although no reply came."""


CANCELLED = asyncio.CancelledError
"""What asyncio's gRPC raises in calls under way when the channel is closed, as if somebody had cancelled the task."""


def task_is_cancelled() -> bool:
    """Has somebody really asked the current task to end? False outside asyncio."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return False
    return task is not None and task.cancelling() > 0


def error_from_stat(
    stat: pb.Status, method: str, config: ConnectionConfig, uuid: UUID | str | None
) -> errors.BTrDBError:
    """The error for a Status inside a reply; `stat.code` decides, its text is only shown."""
    cls = errors.BY_CODE.get(stat.code, errors.ServerError)
    message = stat.msg or f"the server refused {method}"
    return cls(message, method=method, endpoint=config.endpoint, uuid=uuid, server_code=stat.code)


def unreadable(method: str, config: ConnectionConfig, uuid: UUID | str | None) -> errors.ProtocolError:
    """The error for a reply that is no message of its kind; the work of the call may have been done."""
    error = errors.ProtocolError(
        "the server sent a reply that cannot be read", method=method, endpoint=config.endpoint, uuid=uuid
    )
    error.reply_lost = True
    return error


def error_from_rpc(
    error: grpc.RpcError, method: str, config: ConnectionConfig, uuid: UUID | str | None
) -> errors.BTrDBError:
    """The error for a gRPC status; says what to look at, and never carries the API key."""
    code: grpc.StatusCode = error.code()
    details: str = error.details() or ""
    facts: dict[str, Any] = {"method": method, "endpoint": config.endpoint, "uuid": uuid}
    if details == UNKNOWN_STREAM_TEXT:
        return errors.StreamNotFoundError("stream does not exist", server_code=404, **facts)
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and _MESSAGE_OVER_LIMIT.search(details):
        megabytes = config.max_message_bytes / 2**20
        return errors.MessageTooLargeError(
            f"a message is over a limit (here max_message_bytes, {megabytes:g} MiB): {details}",
            **facts,
        )
    result = _BY_GRPC_CODE.get(code, errors.ServerError)(_sentence(code, details, config), **facts)
    result.reply_lost = code in _LOSES_REPLY
    return result


def _sentence(code: grpc.StatusCode, details: str, config: ConnectionConfig) -> str:
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"BTrDB at {config.endpoint} did not answer in time"  # the details are gRPC's, and say no more
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return details or "permission denied"
    shown = f": {details}" if details else ""
    return _what_happened(code, config) + shown


def _what_happened(code: grpc.StatusCode, config: ConnectionConfig) -> str:
    if code is grpc.StatusCode.UNAVAILABLE:
        return f"cannot reach BTrDB at {config.endpoint} {_how(config)}"
    if code is grpc.StatusCode.CANCELLED:
        return f"BTrDB at {config.endpoint} ended the call before it was done"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return "the API key was refused" if config.api_key else "the server wants an API key and none is configured"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return "the server does not offer this call"
    name: str = code.name
    return name


def _how(config: ConnectionConfig) -> str:
    way = _proxy(config)
    if config.tls is None:
        return f"without TLS{way} (does it listen there, and does it speak TLS?)"
    roots = source_of(config.tls)
    return f"with TLS{way} (does it listen there, does it speak TLS, is its certificate trusted by {roots}?)"


_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
"""In the order in which gRPC takes the first that is set."""


def _proxy(config: ConnectionConfig) -> str:
    """The proxy on the way, if there may be one; its user and password are left out."""
    if config.proxy == "off" or all(is_loopback(split_endpoint(one)[0]) for one in endpoints_of(config.endpoint)):
        return ""
    if config.proxy != "environment":
        return f", through the proxy {_place(config.proxy)}"
    name = next((name for name in _PROXY_VARIABLES if os.environ.get(name)), None)
    return "" if name is None else f", through the proxy {_place(os.environ[name])} of {name} unless no_proxy says no"


def _place(url: str) -> str:
    return url.rpartition("@")[2].removeprefix("http://").rstrip("/")
