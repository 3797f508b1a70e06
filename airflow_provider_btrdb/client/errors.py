"""One tree for everything that can go wrong with BTrDB, and one table from BTrDB's numbers to it.

BTrDB fails in two ways: with a gRPC status, or with a `Status{code, msg}` inside a reply that gRPC calls a success.
`status.py` turns both into these classes. Errors carry facts (method, endpoint, uuid, the server's number) as
attributes, survive pickling with them, and know nothing of Airflow.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from airflow_provider_btrdb.protocol import Code


class BTrDBError(Exception):
    """Root of all errors of this package.

    Attributes are None where a fact is not known: `method` (RPC name), `endpoint` ("host:port"), `uuid` (text),
    `server_code` (the number the server sent). `reply_lost` is True when an attempt of the call ended without a reply,
    so that the server may have done the work.
    """

    code: ClassVar[int | None] = None
    """BTrDB's own number, for classes that stand for one."""
    retryable: bool = False
    """Would the same call, unchanged, have a chance, and do no harm?"""

    def __init__(
        self,
        message: str,
        *,
        method: str | None = None,
        endpoint: str | None = None,
        uuid: UUID | str | None = None,
        server_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.method = method
        self.endpoint = endpoint
        self.uuid = None if uuid is None else str(uuid)
        self.server_code = server_code
        self.reply_lost = False

    def __str__(self) -> str:
        facts = [f"{name} {value}" for name, value in self._facts() if value is not None]
        return f"{self.message} ({', '.join(facts)})" if facts else self.message

    def _facts(self) -> list[tuple[str, Any]]:
        shown_uuid = None if self.uuid is None or self.uuid in self.message else self.uuid
        return [("code", self.server_code), ("call", self.method), ("stream", shown_uuid), ("at", self.endpoint)]

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), dict(self.__dict__))


def _rebuild(cls: type[BTrDBError], facts: dict[str, Any]) -> BTrDBError:
    error = cls.__new__(cls, facts["message"])
    error.args = (facts["message"],)
    error.__dict__.update(facts)
    return error


# ---------------------------------------------------------------- what the caller did


class InputError(BTrDBError, ValueError):
    """The arguments were refused before anything was sent."""


class MetadataNotLoadedError(InputError):
    """A stream handle was asked for its tags or annotations before `refresh()` had read them."""


class MissingExtraError(BTrDBError, ImportError):
    """An optional dependency is not installed; the message names the pip command."""


class ClientUnusableError(BTrDBError):
    """The client was closed, or belongs to the process before a fork."""


# ---------------------------------------------------------------- the way to the server


class ServerUnavailableError(BTrDBError):
    """No connection: nobody listens, the name is unknown, TLS failed, or the server went away."""

    retryable = True


class DeadlineExceededError(BTrDBError, TimeoutError):
    """The server did not answer in time."""

    retryable = True


class StreamInterruptedError(BTrDBError):
    """A listing broke off after its first rows had been handed out; calling again starts it anew."""

    retryable = True


class AuthenticationError(BTrDBError):
    """The server does not know the API key."""


class PermissionDeniedError(BTrDBError):
    """The API key is known and may not do this."""


class RateLimitedError(BTrDBError):
    """The server asks for fewer calls."""

    retryable = True


class MessageTooLargeError(BTrDBError):
    """A message was over the limit of one of the two ends."""


class NotSupportedError(BTrDBError):
    """The server does not offer this call."""

    code = Code.NOT_IMPLEMENTED


class ProtocolError(BTrDBError):
    """The server's reply breaks the protocol: it cannot be read, or lacks what was asked for."""


class ServerError(BTrDBError):
    """The server failed in a way that has no class of its own; `server_code` has its number, if it sent one."""


# ---------------------------------------------------------------- what the server says in a Status


class NoSuchPointError(BTrDBError):
    """There is no point in that direction."""

    code = Code.NO_SUCH_POINT


class StreamNotFoundError(BTrDBError):
    """No stream has this uuid or name, or this key may not see it."""

    code = Code.NO_SUCH_STREAM


class WrongEndpointError(BTrDBError):
    """Another node of the cluster holds this stream just now."""

    code = Code.WRONG_ENDPOINT
    retryable = True


class InvalidCollectionError(BTrDBError):
    """A collection is 1 to 255 bytes of text."""

    code = Code.INVALID_COLLECTION


class InvalidTagKeyError(BTrDBError):
    """Tags are name, unit, ingress and distiller."""

    code = Code.INVALID_TAG_KEY


class InvalidTagValueError(BTrDBError):
    """A tag's value is at most 255 bytes of text."""

    code = Code.INVALID_TAG_VALUE


class InvalidTimeRangeError(BTrDBError):
    """The range is empty, reversed, or outside the times that BTrDB can hold."""

    code = Code.INVALID_TIME_RANGE


class InsertTooBigError(BTrDBError):
    """More points in one call than the server takes."""

    code = Code.INSERT_TOO_BIG


class InvalidPointWidthError(BTrDBError):
    """A point width is 0 to 63."""

    code = Code.INVALID_POINT_WIDTH


class StreamExistsError(BTrDBError):
    """The uuid belongs to a stream already."""

    code = Code.STREAM_EXISTS


class AmbiguousStreamError(BTrDBError):
    """Another stream has that collection and those tags, or a name stands for more than one stream."""

    code = Code.AMBIGUOUS_STREAM


class ClusterDegradedError(BTrDBError):
    """The cluster has no node for this stream just now."""

    code = Code.CLUSTER_DEGRADED
    retryable = True


class AnnotationsTooBigError(BTrDBError):
    """The annotations of a stream are together over the server's limit."""

    code = Code.ANNOTATIONS_TOO_BIG


class PropertyVersionMismatch(BTrDBError):
    """Somebody else changed the stream's tags or annotations since they were read."""

    code = Code.PROPERTY_VERSION_MISMATCH


class BadValueError(BTrDBError):
    """A value is NaN or infinite."""

    code = Code.BAD_VALUE


class ResourceDepletedError(RateLimitedError):
    """The server has run out of something and asks for fewer calls."""

    code = Code.RESOURCE_DEPLETED


class InvalidVersionsError(BTrDBError):
    """The range of versions is reversed."""

    code = Code.INVALID_VERSIONS


class RecycledUuidError(BTrDBError):
    """The uuid belonged to a stream that was obliterated; it can never be used again."""

    code = Code.RECYCLED_UUID


class ConcurrentModificationError(BTrDBError):
    """Two changes of one stream met; the same call may be made again."""

    code = Code.CONCURRENT_MODIFICATION
    retryable = True


class ObliterateDisabledError(BTrDBError):
    """The server was started without permission to obliterate streams."""

    code = Code.OBLITERATE_DISABLED


class SqlConnectionError(BTrDBError):
    """The server cannot reach its metadata database."""

    code = Code.SQL_CONNECTION_ERROR
    retryable = True


class BadSqlError(BTrDBError):
    """The SQL statement or its parameters were refused."""

    code = Code.BAD_SQL


class VersionNotAvailableError(BTrDBError):
    """The stream has no such version, or no longer."""

    code = Code.VERSION_NOT_AVAILABLE


class FuturePointError(BTrDBError):
    """A stream's newest point lies in the future, so that its age says nothing: a wrong clock or a wrong insert."""


class PartialUpdateError(BTrDBError):
    """An update of tags and annotations stopped between its two calls; `done` names the half that was done.

    The cause is the error of the other half.
    """

    def __init__(self, message: str, *, done: tuple[str, ...], **facts: Any) -> None:
        super().__init__(message, **facts)
        self.done = done


class InsertInterruptedError(BTrDBError):
    """An insert stopped half-way, or the reply to its only batch was lost under "never".

    `retryable` only where points cannot be stored twice.
    `stored` points of `total` are certainly stored, the first in the order given; the batch after them may be too
    when `reply_lost` is True. The cause is the error of the batch that failed.
    """

    def __init__(self, message: str, *, stored: int, total: int, retryable: bool = False, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.stored = stored
        self.total = total
        self.retryable = retryable


def _by_code(base: type[BTrDBError]) -> dict[int, type[BTrDBError]]:
    table: dict[int, type[BTrDBError]] = {}
    pending = [base]
    while pending:
        for cls in pending.pop().__subclasses__():
            pending.append(cls)
            number = cls.__dict__.get("code")
            if number is None:
                continue
            if table.setdefault(int(number), cls) is not cls:
                raise TypeError(f"code {number} is registered for {table[int(number)].__name__} and {cls.__name__}")
    return table


BY_CODE = _by_code(BTrDBError)
"""BTrDB's number -> class; numbers without a class of their own become `ServerError`."""
