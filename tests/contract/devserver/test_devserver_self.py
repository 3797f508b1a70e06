"""The server itself: what the development server puts on the wire, message by message."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from airflow_provider_btrdb.protocol import METHODS, SERVICE
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def test_info_is_a_proxied_version_5(wire, btrdb_devserver):
    answer = wire.call("Info")
    assert not answer.HasField("stat")
    assert not answer.HasField("mash")
    assert (answer.major_version, list(answer.proxy.proxy_endpoints)) == (5, [btrdb_devserver.endpoint])
    assert answer.minor_version >= 30
    assert answer.build.startswith(f"5.{answer.minor_version}.")


def test_fault_injection_is_never_over_the_wire(wire):
    assert wire.refused("FaultInject", pb.FaultInjectParams(type=1)) == 424


def test_health(btrdb_devserver):
    with grpc.insecure_channel(btrdb_devserver.endpoint) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=60)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_every_method(btrdb_devserver):
    with grpc.insecure_channel(btrdb_devserver.endpoint) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
        ]
        services, file = list(stub.ServerReflectionInfo(iter(ask), timeout=60))
    names = {service.name for service in services.list_services_response.service}
    assert names == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}
    (text,) = file.file_descriptor_response.file_descriptor_proto
    described = descriptor_pb2.FileDescriptorProto.FromString(text)
    assert described.package == "v5api"
    assert {method.name for method in described.service[0].method} == set(METHODS)


def test_an_unknown_method_is_unimplemented(btrdb_devserver):
    with grpc.insecure_channel(btrdb_devserver.endpoint) as channel:
        call = channel.unary_unary(f"/{SERVICE}/GetCompactionConfig")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=60)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
