"""Server reflection: the service as tools like grpcurl see it.

The messages are known to this process under our own proto package, so that the official client can be loaded beside us;
what a tool must see is the public name. So the description is built anew, in a pool of its own.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from airflow_provider_btrdb.protocol import METHODS, SERVICE, Kind
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def service_pool() -> descriptor_pool.DescriptorPool:
    """A pool with the service and the two standard ones."""
    package, _, name = SERVICE.rpartition(".")
    text = pb.DESCRIPTOR.serialized_pb
    file = descriptor_pb2.FileDescriptorProto.FromString(text)
    ours = f".{file.package}."
    file.name, file.package = "btrdb.proto", package
    for message in file.message_type:
        _rename(message, ours, f".{package}.")
    service = file.service.add(name=name)
    for method in METHODS.values():
        service.method.add(
            name=method.name,
            input_type=f".{package}.{method.request.DESCRIPTOR.name}",
            output_type=f".{package}.{method.response.DESCRIPTOR.name}",
            client_streaming=method.kind is Kind.BIDI_STREAM,
            server_streaming=method.kind is not Kind.UNARY,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    for module in (health_pb2, reflection_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return pool


def _rename(message: descriptor_pb2.DescriptorProto, old: str, new: str) -> None:
    for field in message.field:
        if field.type_name.startswith(old):
            field.type_name = new + field.type_name.removeprefix(old)
    for nested in message.nested_type:
        _rename(nested, old, new)


def add_reflection(server: Any) -> None:
    """Let the server describe itself."""
    names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server, pool=service_pool())
