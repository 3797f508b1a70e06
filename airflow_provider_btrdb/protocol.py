"""What both ends of the wire must agree on: method paths, status codes, bounds, tag keys.

The client and the development server share this table and the generated messages, and nothing else: a codec used at
both ends would hide its own bugs. A test holds the method table against the official client's service description.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, Final

from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SERVICE: Final = "v5api.BTrDB"

MIN_TIME_NS: Final = -(16 << 56)
"""The earliest time a point may have, inclusive (about June 1933)."""
MAX_TIME_NS: Final = 48 << 56
"""The end of time, exclusive (about August 2079)."""

TAG_KEYS: Final = ("name", "unit", "ingress", "distiller")
"""A v5 stream has exactly these tags; one that nobody set is the empty string."""

INVALID_KEY_TEXT: Final = "invalid api key"
"""Details of UNAUTHENTICATED for a wrong API key; clients compare this text."""
UNKNOWN_STREAM_TEXT: Final = "[404] stream does not exist"
"""Details of the gRPC status with which StreamInfo answers for an unknown uuid; clients compare this text."""


class Code(IntEnum):
    """Numbers of the `Status` inside an answer. A server may send others; they are no error of the wire."""

    NO_SUCH_POINT = 401
    CONTEXT_ERROR = 402
    INSERT_FAILURE = 403
    NO_SUCH_STREAM = 404
    WRONG_ENDPOINT = 405
    INVALID_COLLECTION = 407
    INVALID_TAG_KEY = 408
    INVALID_TAG_VALUE = 409
    INVALID_TIME_RANGE = 413
    INSERT_TOO_BIG = 414
    INVALID_POINT_WIDTH = 415
    STREAM_EXISTS = 417
    AMBIGUOUS_STREAM = 418
    CLUSTER_DEGRADED = 419
    WRONG_ARGUMENTS = 421
    ANNOTATIONS_TOO_BIG = 422
    PROPERTY_VERSION_MISMATCH = 423
    FAULT_INJECTION_DISABLED = 424
    BAD_VALUE = 425
    RESOURCE_DEPLETED = 426
    INVALID_VERSIONS = 427
    RECYCLED_UUID = 429
    CONCURRENT_MODIFICATION = 430
    OBLITERATE_DISABLED = 431
    JOURNAL_ERROR = 434
    INVALID_PARAMETER = 438
    SQL_CONNECTION_ERROR = 440
    BAD_SQL = 441
    VERSION_NOT_AVAILABLE = 450
    LOCK_FAILED = 453
    INVARIANT_FAILURE = 500
    NOT_IMPLEMENTED = 501


class Kind(Enum):
    """The shape of a call."""

    UNARY = "unary-unary"
    SERVER_STREAM = "unary-stream"
    BIDI_STREAM = "stream-stream"


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC of the service."""

    name: str
    kind: Kind
    request: Any
    response: Any

    @property
    def path(self) -> str:
        """The path on the wire, for example `/v5api.BTrDB/Create`."""
        return f"/{SERVICE}/{self.name}"


METHODS: Final = {
    method.name: method
    for method in (
        Method("Info", Kind.UNARY, pb.InfoParams, pb.InfoResponse),
        Method("Create", Kind.UNARY, pb.CreateParams, pb.CreateResponse),
        Method("StreamInfo", Kind.UNARY, pb.StreamInfoParams, pb.StreamInfoResponse),
        Method("SetStreamTags", Kind.UNARY, pb.SetStreamTagsParams, pb.SetStreamTagsResponse),
        Method("SetStreamAnnotations", Kind.UNARY, pb.SetStreamAnnotationsParams, pb.SetStreamAnnotationsResponse),
        Method("LookupStreams", Kind.SERVER_STREAM, pb.LookupStreamsParams, pb.LookupStreamsResponse),
        Method("ListCollections", Kind.SERVER_STREAM, pb.ListCollectionsParams, pb.ListCollectionsResponse),
        Method("GetMetadataUsage", Kind.UNARY, pb.MetadataUsageParams, pb.MetadataUsageResponse),
        Method("SQLQuery", Kind.SERVER_STREAM, pb.SQLQueryParams, pb.SQLQueryResponse),
        Method("Obliterate", Kind.UNARY, pb.ObliterateParams, pb.ObliterateResponse),
        Method("Insert", Kind.UNARY, pb.InsertParams, pb.InsertResponse),
        Method("ArrowInsert", Kind.UNARY, pb.ArrowInsertParams, pb.InsertResponse),
        Method("Delete", Kind.UNARY, pb.DeleteParams, pb.DeleteResponse),
        Method("Flush", Kind.UNARY, pb.FlushParams, pb.FlushResponse),
        Method("RawValues", Kind.SERVER_STREAM, pb.RawValuesParams, pb.RawValuesResponse),
        Method("ArrowRawValues", Kind.SERVER_STREAM, pb.ArrowRawValuesParams, pb.ArrowRawValuesResponse),
        Method("ArrowMultiValues", Kind.SERVER_STREAM, pb.ArrowMultiValuesParams, pb.ArrowMultiValuesResponse),
        Method("AlignedWindows", Kind.SERVER_STREAM, pb.AlignedWindowsParams, pb.AlignedWindowsResponse),
        Method("ArrowAlignedWindows", Kind.SERVER_STREAM, pb.AlignedWindowsParams, pb.ArrowAlignedWindowsResponse),
        Method("Windows", Kind.SERVER_STREAM, pb.WindowsParams, pb.WindowsResponse),
        Method("ArrowWindows", Kind.SERVER_STREAM, pb.WindowsParams, pb.ArrowWindowsResponse),
        Method("Nearest", Kind.UNARY, pb.NearestParams, pb.NearestResponse),
        Method("Changes", Kind.SERVER_STREAM, pb.ChangesParams, pb.ChangesResponse),
        Method("GenerateCSV", Kind.SERVER_STREAM, pb.GenerateCSVParams, pb.GenerateCSVResponse),
        Method("Subscribe", Kind.BIDI_STREAM, pb.SubscriptionUpdate, pb.SubscriptionResp),
        Method("FaultInject", Kind.UNARY, pb.FaultInjectParams, pb.FaultInjectResponse),
    )
}
