from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class MergePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEVER: _ClassVar[MergePolicy]
    EQUAL: _ClassVar[MergePolicy]
    RETAIN: _ClassVar[MergePolicy]
    REPLACE: _ClassVar[MergePolicy]

class SubscriptionUpdateOp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADD_UUIDS: _ClassVar[SubscriptionUpdateOp]
    REMOVE_UUIDS: _ClassVar[SubscriptionUpdateOp]
NEVER: MergePolicy
EQUAL: MergePolicy
RETAIN: MergePolicy
REPLACE: MergePolicy
ADD_UUIDS: SubscriptionUpdateOp
REMOVE_UUIDS: SubscriptionUpdateOp

class Status(_message.Message):
    __slots__ = ("code", "msg", "mash")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    MASH_FIELD_NUMBER: _ClassVar[int]
    code: int
    msg: str
    mash: Mash
    def __init__(self, code: _Optional[int] = ..., msg: _Optional[str] = ..., mash: _Optional[_Union[Mash, _Mapping]] = ...) -> None: ...

class Mash(_message.Message):
    __slots__ = ("revision", "leader", "leader_revision", "total_weight", "healthy", "unmapped", "members")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    LEADER_FIELD_NUMBER: _ClassVar[int]
    LEADER_REVISION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HEALTHY_FIELD_NUMBER: _ClassVar[int]
    UNMAPPED_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    leader: str
    leader_revision: int
    total_weight: int
    healthy: bool
    unmapped: float
    members: _containers.RepeatedCompositeFieldContainer[Member]
    def __init__(self, revision: _Optional[int] = ..., leader: _Optional[str] = ..., leader_revision: _Optional[int] = ..., total_weight: _Optional[int] = ..., healthy: bool = ..., unmapped: _Optional[float] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("hash", "nodename", "up", "enabled", "start", "end", "weight", "read_preference", "http_endpoints", "grpc_endpoints")
    HASH_FIELD_NUMBER: _ClassVar[int]
    NODENAME_FIELD_NUMBER: _ClassVar[int]
    UP_FIELD_NUMBER: _ClassVar[int]
    IN_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    READ_PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    HTTP_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    GRPC_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    hash: int
    nodename: str
    up: bool
    enabled: bool
    start: int
    end: int
    weight: int
    read_preference: float
    http_endpoints: str
    grpc_endpoints: str
    def __init__(self, hash: _Optional[int] = ..., nodename: _Optional[str] = ..., up: bool = ..., enabled: bool = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., weight: _Optional[int] = ..., read_preference: _Optional[float] = ..., http_endpoints: _Optional[str] = ..., grpc_endpoints: _Optional[str] = ..., **kwargs) -> None: ...

class Role(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class RawPoint(_message.Message):
    __slots__ = ("time", "value")
    TIME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    time: int
    value: float
    def __init__(self, time: _Optional[int] = ..., value: _Optional[float] = ...) -> None: ...

class StatPoint(_message.Message):
    __slots__ = ("time", "min", "mean", "max", "count", "stddev")
    TIME_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MEAN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    STDDEV_FIELD_NUMBER: _ClassVar[int]
    time: int
    min: float
    mean: float
    max: float
    count: int
    stddev: float
    def __init__(self, time: _Optional[int] = ..., min: _Optional[float] = ..., mean: _Optional[float] = ..., max: _Optional[float] = ..., count: _Optional[int] = ..., stddev: _Optional[float] = ...) -> None: ...

class ChangedRange(_message.Message):
    __slots__ = ("start", "end")
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    start: int
    end: int
    def __init__(self, start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class KeyOptValue(_message.Message):
    __slots__ = ("key", "val")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VAL_FIELD_NUMBER: _ClassVar[int]
    key: str
    val: OptValue
    def __init__(self, key: _Optional[str] = ..., val: _Optional[_Union[OptValue, _Mapping]] = ...) -> None: ...

class OptValue(_message.Message):
    __slots__ = ("value",)
    VALUE_FIELD_NUMBER: _ClassVar[int]
    value: str
    def __init__(self, value: _Optional[str] = ...) -> None: ...

class StreamDescriptor(_message.Message):
    __slots__ = ("uuid", "collection", "tags", "annotations", "property_version")
    UUID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_VERSION_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    collection: str
    tags: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    property_version: int
    def __init__(self, uuid: _Optional[bytes] = ..., collection: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., property_version: _Optional[int] = ...) -> None: ...

class StreamInfoParams(_message.Message):
    __slots__ = ("uuid", "omit_version", "omit_descriptor", "role")
    UUID_FIELD_NUMBER: _ClassVar[int]
    OMIT_VERSION_FIELD_NUMBER: _ClassVar[int]
    OMIT_DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    omit_version: bool
    omit_descriptor: bool
    role: Role
    def __init__(self, uuid: _Optional[bytes] = ..., omit_version: bool = ..., omit_descriptor: bool = ..., role: _Optional[_Union[Role, _Mapping]] = ...) -> None: ...

class StreamInfoResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "descriptor")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTOR_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    descriptor: StreamDescriptor
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., descriptor: _Optional[_Union[StreamDescriptor, _Mapping]] = ...) -> None: ...

class CreateParams(_message.Message):
    __slots__ = ("uuid", "collection", "tags", "annotations")
    UUID_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    collection: str
    tags: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    def __init__(self, uuid: _Optional[bytes] = ..., collection: _Optional[str] = ..., tags: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ...) -> None: ...

class CreateResponse(_message.Message):
    __slots__ = ("stat",)
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class SetStreamAnnotationsParams(_message.Message):
    __slots__ = ("uuid", "expected_property_version", "changes", "removals")
    UUID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PROPERTY_VERSION_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    REMOVALS_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    expected_property_version: int
    changes: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    removals: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, uuid: _Optional[bytes] = ..., expected_property_version: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., removals: _Optional[_Iterable[str]] = ...) -> None: ...

class SetStreamAnnotationsResponse(_message.Message):
    __slots__ = ("stat",)
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class SetStreamTagsParams(_message.Message):
    __slots__ = ("uuid", "expected_property_version", "tags", "collection", "remove")
    UUID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_PROPERTY_VERSION_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    REMOVE_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    expected_property_version: int
    tags: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    collection: str
    remove: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, uuid: _Optional[bytes] = ..., expected_property_version: _Optional[int] = ..., tags: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., collection: _Optional[str] = ..., remove: _Optional[_Iterable[str]] = ...) -> None: ...

class SetStreamTagsResponse(_message.Message):
    __slots__ = ("stat",)
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class LookupStreamsParams(_message.Message):
    __slots__ = ("collection", "is_collection_prefix", "tags", "annotations", "role")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IS_COLLECTION_PREFIX_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    is_collection_prefix: bool
    tags: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyOptValue]
    role: Role
    def __init__(self, collection: _Optional[str] = ..., is_collection_prefix: bool = ..., tags: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyOptValue, _Mapping]]] = ..., role: _Optional[_Union[Role, _Mapping]] = ...) -> None: ...

class LookupStreamsResponse(_message.Message):
    __slots__ = ("stat", "results")
    STAT_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    results: _containers.RepeatedCompositeFieldContainer[StreamDescriptor]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., results: _Optional[_Iterable[_Union[StreamDescriptor, _Mapping]]] = ...) -> None: ...

class ListCollectionsParams(_message.Message):
    __slots__ = ("prefix", "role")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    role: Role
    def __init__(self, prefix: _Optional[str] = ..., role: _Optional[_Union[Role, _Mapping]] = ...) -> None: ...

class ListCollectionsResponse(_message.Message):
    __slots__ = ("stat", "collections")
    STAT_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    collections: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., collections: _Optional[_Iterable[str]] = ...) -> None: ...

class MetadataUsageParams(_message.Message):
    __slots__ = ("prefix", "role")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    role: Role
    def __init__(self, prefix: _Optional[str] = ..., role: _Optional[_Union[Role, _Mapping]] = ...) -> None: ...

class MetadataUsageResponse(_message.Message):
    __slots__ = ("stat", "tags", "annotations")
    STAT_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    ANNOTATIONS_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    tags: _containers.RepeatedCompositeFieldContainer[KeyCount]
    annotations: _containers.RepeatedCompositeFieldContainer[KeyCount]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., tags: _Optional[_Iterable[_Union[KeyCount, _Mapping]]] = ..., annotations: _Optional[_Iterable[_Union[KeyCount, _Mapping]]] = ...) -> None: ...

class KeyCount(_message.Message):
    __slots__ = ("key", "count")
    KEY_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    key: str
    count: int
    def __init__(self, key: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class SQLQueryParams(_message.Message):
    __slots__ = ("query", "params", "role")
    QUERY_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    query: str
    params: _containers.RepeatedScalarFieldContainer[str]
    role: Role
    def __init__(self, query: _Optional[str] = ..., params: _Optional[_Iterable[str]] = ..., role: _Optional[_Union[Role, _Mapping]] = ...) -> None: ...

class SQLQueryResponse(_message.Message):
    __slots__ = ("stat", "rows")
    STAT_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    rows: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., rows: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RawValuesParams(_message.Message):
    __slots__ = ("uuid", "start", "end", "version_major")
    UUID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    start: int
    end: int
    version_major: int
    def __init__(self, uuid: _Optional[bytes] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., version_major: _Optional[int] = ...) -> None: ...

class RawValuesResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "values")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    values: _containers.RepeatedCompositeFieldContainer[RawPoint]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., values: _Optional[_Iterable[_Union[RawPoint, _Mapping]]] = ...) -> None: ...

class AlignedWindowsParams(_message.Message):
    __slots__ = ("uuid", "start", "end", "version_major", "point_width")
    UUID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    POINT_WIDTH_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    start: int
    end: int
    version_major: int
    point_width: int
    def __init__(self, uuid: _Optional[bytes] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., version_major: _Optional[int] = ..., point_width: _Optional[int] = ...) -> None: ...

class AlignedWindowsResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "values")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    values: _containers.RepeatedCompositeFieldContainer[StatPoint]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., values: _Optional[_Iterable[_Union[StatPoint, _Mapping]]] = ...) -> None: ...

class WindowsParams(_message.Message):
    __slots__ = ("uuid", "start", "end", "version_major", "width", "depth")
    UUID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    start: int
    end: int
    version_major: int
    width: int
    depth: int
    def __init__(self, uuid: _Optional[bytes] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., version_major: _Optional[int] = ..., width: _Optional[int] = ..., depth: _Optional[int] = ...) -> None: ...

class WindowsResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "values")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    values: _containers.RepeatedCompositeFieldContainer[StatPoint]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., values: _Optional[_Iterable[_Union[StatPoint, _Mapping]]] = ...) -> None: ...

class NearestParams(_message.Message):
    __slots__ = ("uuid", "time", "version_major", "backward")
    UUID_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    BACKWARD_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    time: int
    version_major: int
    backward: bool
    def __init__(self, uuid: _Optional[bytes] = ..., time: _Optional[int] = ..., version_major: _Optional[int] = ..., backward: bool = ...) -> None: ...

class NearestResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "value")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    value: RawPoint
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., value: _Optional[_Union[RawPoint, _Mapping]] = ...) -> None: ...

class ChangesParams(_message.Message):
    __slots__ = ("uuid", "from_major", "to_major", "resolution")
    UUID_FIELD_NUMBER: _ClassVar[int]
    FROM_MAJOR_FIELD_NUMBER: _ClassVar[int]
    TO_MAJOR_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    from_major: int
    to_major: int
    resolution: int
    def __init__(self, uuid: _Optional[bytes] = ..., from_major: _Optional[int] = ..., to_major: _Optional[int] = ..., resolution: _Optional[int] = ...) -> None: ...

class ChangesResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "ranges")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    RANGES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    ranges: _containers.RepeatedCompositeFieldContainer[ChangedRange]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., ranges: _Optional[_Iterable[_Union[ChangedRange, _Mapping]]] = ...) -> None: ...

class ArrowRawValuesParams(_message.Message):
    __slots__ = ("uuid", "start", "end", "version_major", "template_bytes")
    UUID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    start: int
    end: int
    version_major: int
    template_bytes: bytes
    def __init__(self, uuid: _Optional[bytes] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., version_major: _Optional[int] = ..., template_bytes: _Optional[bytes] = ...) -> None: ...

class ArrowRawValuesResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "arrow_bytes")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    ARROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    arrow_bytes: bytes
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., arrow_bytes: _Optional[bytes] = ...) -> None: ...

class ArrowMultiValuesParams(_message.Message):
    __slots__ = ("uuids", "version_majors", "start", "end", "snap_period_ns", "template_bytes")
    UUIDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJORS_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SNAP_PERIOD_NS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    uuids: _containers.RepeatedScalarFieldContainer[bytes]
    version_majors: _containers.RepeatedScalarFieldContainer[int]
    start: int
    end: int
    snap_period_ns: int
    template_bytes: bytes
    def __init__(self, uuids: _Optional[_Iterable[bytes]] = ..., version_majors: _Optional[_Iterable[int]] = ..., start: _Optional[int] = ..., end: _Optional[int] = ..., snap_period_ns: _Optional[int] = ..., template_bytes: _Optional[bytes] = ...) -> None: ...

class ArrowMultiValuesResponse(_message.Message):
    __slots__ = ("stat", "arrow_bytes")
    STAT_FIELD_NUMBER: _ClassVar[int]
    ARROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    arrow_bytes: bytes
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., arrow_bytes: _Optional[bytes] = ...) -> None: ...

class ArrowAlignedWindowsResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "arrow_bytes")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    ARROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    arrow_bytes: bytes
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., arrow_bytes: _Optional[bytes] = ...) -> None: ...

class ArrowWindowsResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor", "arrow_bytes")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    ARROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    arrow_bytes: bytes
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ..., arrow_bytes: _Optional[bytes] = ...) -> None: ...

class RoundSpec(_message.Message):
    __slots__ = ("bits",)
    BITS_FIELD_NUMBER: _ClassVar[int]
    bits: int
    def __init__(self, bits: _Optional[int] = ...) -> None: ...

class InsertParams(_message.Message):
    __slots__ = ("uuid", "sync", "merge_policy", "rounding", "values")
    UUID_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    MERGE_POLICY_FIELD_NUMBER: _ClassVar[int]
    ROUNDING_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    sync: bool
    merge_policy: MergePolicy
    rounding: RoundSpec
    values: _containers.RepeatedCompositeFieldContainer[RawPoint]
    def __init__(self, uuid: _Optional[bytes] = ..., sync: bool = ..., merge_policy: _Optional[_Union[MergePolicy, str]] = ..., rounding: _Optional[_Union[RoundSpec, _Mapping]] = ..., values: _Optional[_Iterable[_Union[RawPoint, _Mapping]]] = ...) -> None: ...

class ArrowInsertParams(_message.Message):
    __slots__ = ("uuid", "sync", "merge_policy", "rounding", "arrow_bytes")
    UUID_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    MERGE_POLICY_FIELD_NUMBER: _ClassVar[int]
    ROUNDING_FIELD_NUMBER: _ClassVar[int]
    ARROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    sync: bool
    merge_policy: MergePolicy
    rounding: RoundSpec
    arrow_bytes: bytes
    def __init__(self, uuid: _Optional[bytes] = ..., sync: bool = ..., merge_policy: _Optional[_Union[MergePolicy, str]] = ..., rounding: _Optional[_Union[RoundSpec, _Mapping]] = ..., arrow_bytes: _Optional[bytes] = ...) -> None: ...

class InsertResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ...) -> None: ...

class DeleteParams(_message.Message):
    __slots__ = ("uuid", "start", "end")
    UUID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    start: int
    end: int
    def __init__(self, uuid: _Optional[bytes] = ..., start: _Optional[int] = ..., end: _Optional[int] = ...) -> None: ...

class DeleteResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ...) -> None: ...

class FlushParams(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    def __init__(self, uuid: _Optional[bytes] = ...) -> None: ...

class FlushResponse(_message.Message):
    __slots__ = ("stat", "version_major", "version_minor")
    STAT_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAJOR_FIELD_NUMBER: _ClassVar[int]
    VERSION_MINOR_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    version_major: int
    version_minor: int
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., version_major: _Optional[int] = ..., version_minor: _Optional[int] = ...) -> None: ...

class ObliterateParams(_message.Message):
    __slots__ = ("uuid",)
    UUID_FIELD_NUMBER: _ClassVar[int]
    uuid: bytes
    def __init__(self, uuid: _Optional[bytes] = ...) -> None: ...

class ObliterateResponse(_message.Message):
    __slots__ = ("stat",)
    STAT_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ...) -> None: ...

class SubscriptionUpdate(_message.Message):
    __slots__ = ("op", "uuids")
    OP_FIELD_NUMBER: _ClassVar[int]
    UUIDS_FIELD_NUMBER: _ClassVar[int]
    op: SubscriptionUpdateOp
    uuids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, op: _Optional[_Union[SubscriptionUpdateOp, str]] = ..., uuids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubscriptionResp(_message.Message):
    __slots__ = ("stat", "uuid", "arrow_bytes")
    STAT_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    ARROW_BYTES_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    uuid: bytes
    arrow_bytes: bytes
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., uuid: _Optional[bytes] = ..., arrow_bytes: _Optional[bytes] = ...) -> None: ...

class StreamCSVConfig(_message.Message):
    __slots__ = ("version", "label", "uuid")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    version: int
    label: str
    uuid: bytes
    def __init__(self, version: _Optional[int] = ..., label: _Optional[str] = ..., uuid: _Optional[bytes] = ...) -> None: ...

class GenerateCSVParams(_message.Message):
    __slots__ = ("query_type", "start_time", "end_time", "window_size", "depth", "include_versions", "streams")
    class QueryType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ALIGNED_WINDOWS_QUERY: _ClassVar[GenerateCSVParams.QueryType]
        WINDOWS_QUERY: _ClassVar[GenerateCSVParams.QueryType]
        RAW_QUERY: _ClassVar[GenerateCSVParams.QueryType]
    ALIGNED_WINDOWS_QUERY: GenerateCSVParams.QueryType
    WINDOWS_QUERY: GenerateCSVParams.QueryType
    RAW_QUERY: GenerateCSVParams.QueryType
    QUERY_TYPE_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SIZE_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    query_type: GenerateCSVParams.QueryType
    start_time: int
    end_time: int
    window_size: int
    depth: int
    include_versions: bool
    streams: _containers.RepeatedCompositeFieldContainer[StreamCSVConfig]
    def __init__(self, query_type: _Optional[_Union[GenerateCSVParams.QueryType, str]] = ..., start_time: _Optional[int] = ..., end_time: _Optional[int] = ..., window_size: _Optional[int] = ..., depth: _Optional[int] = ..., include_versions: bool = ..., streams: _Optional[_Iterable[_Union[StreamCSVConfig, _Mapping]]] = ...) -> None: ...

class GenerateCSVResponse(_message.Message):
    __slots__ = ("stat", "is_header", "row")
    STAT_FIELD_NUMBER: _ClassVar[int]
    IS_HEADER_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    is_header: bool
    row: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., is_header: bool = ..., row: _Optional[_Iterable[str]] = ...) -> None: ...

class InfoParams(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InfoResponse(_message.Message):
    __slots__ = ("stat", "mash", "major_version", "minor_version", "build", "proxy")
    STAT_FIELD_NUMBER: _ClassVar[int]
    MASH_FIELD_NUMBER: _ClassVar[int]
    MAJOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    MINOR_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    PROXY_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    mash: Mash
    major_version: int
    minor_version: int
    build: str
    proxy: ProxyInfo
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., mash: _Optional[_Union[Mash, _Mapping]] = ..., major_version: _Optional[int] = ..., minor_version: _Optional[int] = ..., build: _Optional[str] = ..., proxy: _Optional[_Union[ProxyInfo, _Mapping]] = ...) -> None: ...

class ProxyInfo(_message.Message):
    __slots__ = ("proxy_endpoints",)
    PROXY_ENDPOINTS_FIELD_NUMBER: _ClassVar[int]
    proxy_endpoints: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, proxy_endpoints: _Optional[_Iterable[str]] = ...) -> None: ...

class FaultInjectParams(_message.Message):
    __slots__ = ("type", "params")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    PARAMS_FIELD_NUMBER: _ClassVar[int]
    type: int
    params: bytes
    def __init__(self, type: _Optional[int] = ..., params: _Optional[bytes] = ...) -> None: ...

class FaultInjectResponse(_message.Message):
    __slots__ = ("stat", "rv")
    STAT_FIELD_NUMBER: _ClassVar[int]
    RV_FIELD_NUMBER: _ClassVar[int]
    stat: Status
    rv: bytes
    def __init__(self, stat: _Optional[_Union[Status, _Mapping]] = ..., rv: _Optional[bytes] = ...) -> None: ...
