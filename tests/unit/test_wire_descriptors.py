"""Our messages and methods against those of the official client, and both packages in one process."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from airflow_provider_btrdb import protocol
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as ours


def _official() -> Any:
    from btrdb.grpcinterface import btrdb_pb2

    return btrdb_pb2


def _messages(file: Any) -> dict[str, Any]:
    """Every message of a file by its name without the package, nested ones as `Outer.Inner`."""
    found = {}
    pending = [(message.name, message) for message in file.message_types_by_name.values()]
    while pending:
        name, message = pending.pop()
        found[name] = message
        pending += [(f"{name}.{nested.name}", nested) for nested in message.nested_types]
    return found


def _proto(message: Any) -> descriptor_pb2.DescriptorProto:
    proto = descriptor_pb2.DescriptorProto()
    message.CopyToProto(proto)
    return proto


def _fields(message: Any, package: str) -> dict[int, tuple[Any, ...]]:
    """Number -> type, label, name of the message or enum type, is it in a oneof, has it presence, packed."""
    by_number = {field.number: field for field in message.fields}
    shape = {}
    for field in _proto(message).field:
        live = by_number[field.number]
        shape[field.number] = (
            field.type,
            field.label,
            field.type_name.removeprefix(f".{package}."),
            field.HasField("oneof_index"),
            live.has_presence,
            live.GetOptions().SerializeToString(),
        )
    return shape


def _enums(file: Any) -> dict[str, dict[str, int]]:
    holders = [file.enum_types_by_name.values(), *(message.enum_types for message in _messages(file).values())]
    package = f"{file.package}."
    return {
        enum.full_name.removeprefix(package): {value.name: value.number for value in enum.values}
        for enums in holders
        for enum in enums
    }


def _used(file: Any) -> set[str]:
    """The messages that a method of the service takes or gives, directly or inside another."""
    names: set[str] = set()
    pending = [
        message
        for method in file.services_by_name["BTrDB"].methods
        for message in (method.input_type, method.output_type)
    ]
    while pending:
        message = pending.pop()
        if message.name not in names:
            names.add(message.name)
            pending += [field.message_type for field in message.fields if field.message_type is not None]
    return names


def test_the_messages_are_those_that_the_official_service_uses() -> None:
    theirs = _used(_official().DESCRIPTOR)
    assert set(_messages(ours.DESCRIPTOR)) == theirs
    assert len(theirs) == 63


@pytest.mark.parametrize("name", sorted(_messages(ours.DESCRIPTOR)))
def test_message_has_the_official_fields(name: str) -> None:
    official = _official().DESCRIPTOR
    theirs = _fields(_messages(official)[name], official.package)
    assert _fields(_messages(ours.DESCRIPTOR)[name], ours.DESCRIPTOR.package) == theirs


def test_fields_have_the_official_names_but_for_their_case() -> None:
    official = _messages(_official().DESCRIPTOR)
    renamed = {}
    for name, message in _messages(ours.DESCRIPTOR).items():
        for field in message.fields:
            their_name = official[name].fields_by_number[field.number].name
            if field.name.replace("_", "").lower() != their_name.replace("_", "").lower():
                renamed[f"{name}.{their_name}"] = field.name
    assert renamed == {
        "SQLQueryResponse.SQLQueryRow": "rows",
        "ArrowMultiValuesParams.uuid": "uuids",
        "ArrowMultiValuesParams.versionMajor": "version_majors",
        "SubscriptionUpdate.uuid": "uuids",
    }


def test_oneofs_are_the_official_ones() -> None:
    def oneofs(file: Any) -> dict[str, list[tuple[str, list[int]]]]:
        return {
            name: [(one.name, sorted(field.number for field in one.fields)) for one in message.oneofs]
            for name, message in _messages(file).items()
            if message.oneofs
        }

    assert oneofs(ours.DESCRIPTOR) == oneofs(_official().DESCRIPTOR) == {"RoundSpec": [("spec", [2])]}


def test_enums_have_the_official_values() -> None:
    assert _enums(ours.DESCRIPTOR) == _enums(_official().DESCRIPTOR)


def test_methods_are_those_of_the_official_service() -> None:
    service = _official().DESCRIPTOR.services_by_name["BTrDB"]
    assert service.full_name == protocol.SERVICE
    proto = descriptor_pb2.ServiceDescriptorProto()
    service.CopyToProto(proto)
    kinds = {(False, False): "unary-unary", (False, True): "unary-stream", (True, True): "stream-stream"}
    theirs = {
        method.name: (
            kinds[method.client_streaming, method.server_streaming],
            method.input_type.removeprefix(".v5api."),
            method.output_type.removeprefix(".v5api."),
        )
        for method in proto.method
    }
    table = {
        name: (method.kind.value, method.request.DESCRIPTOR.name, method.response.DESCRIPTOR.name)
        for name, method in protocol.METHODS.items()
    }
    assert table == theirs
    assert len(table) == 26


def test_paths_are_those_that_the_official_stub_calls() -> None:
    from btrdb.grpcinterface import btrdb_pb2_grpc

    called: dict[str, str] = {}

    class Recorder:
        """Stands where a channel would: the stub tells it every path and kind while it is built."""

        def __getattr__(self, kind: str) -> Any:
            def multicallable(path: str, **_: Any) -> None:
                called[path] = kind.replace("_", "-")

            return multicallable

    btrdb_pb2_grpc.BTrDBStub(Recorder())
    assert {method.path: method.kind.value for method in protocol.METHODS.values()} == called


@pytest.mark.parametrize("name", sorted(_messages(ours.DESCRIPTOR)))
def test_bytes_travel_between_the_two_packages(name: str) -> None:
    """A message with every singular field set is read by the other side and written back to the same bytes."""
    official, mine = _official(), ours
    for part in name.split("."):
        official, mine = getattr(official, part), getattr(mine, part)
    message = mine()  # type: ignore[operator]
    for field in message.DESCRIPTOR.fields:
        _set_something(message, field)
    data = message.SerializeToString(deterministic=True)
    assert official.FromString(data).SerializeToString(deterministic=True) == data
    assert not data or len(data) > 1


def _set_something(message: Any, field: Any) -> None:
    repeated = _proto(field.containing_type).field[field.index].label == 3
    kind = field.cpp_type
    value: Any = {field.CPPTYPE_STRING: b"x" * 16 if field.type == field.TYPE_BYTES else "x"}.get(kind, 1)
    if kind == field.CPPTYPE_MESSAGE:
        target = getattr(message, field.name)
        if repeated:
            target.add()
        else:
            target.SetInParent()
    elif repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


OURS = "from airflow_provider_btrdb.wire import btrdb_v5_pb2; btrdb_v5_pb2.InsertParams(uuid=b'x')"
THEIRS = "import btrdb; from btrdb.grpcinterface import btrdb_pb2; btrdb_pb2.InsertParams(uuid=b'x')"


@pytest.mark.parametrize("order", [[OURS, THEIRS], [THEIRS, OURS]], ids=["ours first", "theirs first"])
def test_both_packages_load_in_one_process(order: list[str]) -> None:
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(order)], capture_output=True, text=True, timeout=120, check=False
    )
    assert run.returncode == 0, run.stderr


def test_codes_mean_what_they_mean_to_the_official_client() -> None:
    """Every number that the official client has a class for has one of ours, and no two share it."""
    from btrdb.exceptions import BTRDB_ERRORS

    from airflow_provider_btrdb.client.errors import BY_CODE

    same_thing = {
        "NoSuchPoint": "NoSuchPointError",
        "InvalidCollection": "InvalidCollectionError",
        "InvalidTagKey": "InvalidTagKeyError",
        "InvalidTagValue": "InvalidTagValueError",
        "InvalidTimeRange": "InvalidTimeRangeError",
        "InvalidPointWidth": "InvalidPointWidthError",
        "StreamExists": "StreamExistsError",
        "AmbiguousStream": "AmbiguousStreamError",
        "BadValue": "BadValueError",
        "RecycledUUID": "RecycledUuidError",
        "BadSQLValue": "BadSqlError",
        "VersionNotAvailable": "VersionNotAvailableError",
    }
    theirs = {code: same_thing.get(cls.__name__, cls.__name__) for code, cls in BTRDB_ERRORS.items()}
    assert {code: BY_CODE[code].__name__ for code in theirs} == theirs


def test_bounds_of_time_are_those_of_the_official_client() -> None:
    import btrdb

    assert protocol.MIN_TIME_NS == btrdb.MINIMUM_TIME
    assert protocol.MAX_TIME_NS == btrdb.MAXIMUM_TIME + 1
