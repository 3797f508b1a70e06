"""Server reflection: the service as tools like grpcurl see it.

The messages are known to this process under our own proto package, so that the official client can be loaded beside us;
what a tool must see is the public name. So the description is built anew, in a pool of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from airflow_provider_btrdb.devserver.auth import Keys
from airflow_provider_btrdb.devserver.errors import StatusError
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


class _Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc]  # it has no types
    """Describes the server to those who may call it."""

    def __init__(self, keys: Callable[[], Keys]) -> None:
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        super().__init__(names, pool=service_pool())
        self._keys = keys

    async def ServerReflectionInfo(self, requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """The only method of the service."""
        try:
            self._keys().identify(context.invocation_metadata())
        except StatusError as error:
            await context.abort(error.code, error.details)
        async for answer in super().ServerReflectionInfo(requests, context):
            yield answer


def add_reflection(server: Any, keys: Callable[[], Keys]) -> None:
    """Let the server describe itself to those whom the keys of the moment let in."""
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(_Reflection(keys), server)
