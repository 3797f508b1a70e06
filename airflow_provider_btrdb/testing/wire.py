"""The bare wire: messages in, messages out, no client in between. For tests that look at exactly what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from airflow_provider_btrdb.protocol import METHODS, Kind
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb


def pairs(**values: str | None) -> list[pb.KeyOptValue]:
    """Tags or annotations as a request has them; None is a null value."""
    return [pb.KeyOptValue(key=key, val=None if v is None else pb.OptValue(value=v)) for key, v in values.items()]


class WireClient:
    """A channel to a server; a context manager. Every call has a deadline of `timeout` seconds.

    `options` are further ones of the gRPC channel.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        api_key: str | None = None,
        root_certificate: bytes | None = None,
        timeout: float = 60.0,
        options: Sequence[tuple[str, Any]] = (),
    ) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), *options]
        if root_certificate is None:
            self.channel = grpc.insecure_channel(endpoint, options)
        else:
            self.channel = grpc.secure_channel(endpoint, grpc.ssl_channel_credentials(root_certificate), options)
        self._metadata = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self._timeout = timeout

    def __enter__(self) -> WireClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()

    def start(self, method: str, request: Any, **options: Any) -> Any:
        """A call as gRPC gives it: a message, an iterator of messages, or for Subscribe an iterator over both."""
        known = METHODS[method]
        make = {
            Kind.UNARY: self.channel.unary_unary,
            Kind.SERVER_STREAM: self.channel.unary_stream,
            Kind.BIDI_STREAM: self.channel.stream_stream,
        }[known.kind]
        serialize = None if isinstance(request, bytes) else known.request.SerializeToString
        stub = make(known.path, request_serializer=serialize, response_deserializer=known.response.FromString)
        return stub(request, metadata=self._metadata, timeout=options.pop("timeout", self._timeout), **options)

    def call(self, method: str, request: Any = None) -> Any:
        """The answer of a unary call, or the list of messages of a server stream; bytes are sent as they are."""
        known = METHODS[method]
        answer = self.start(method, known.request() if request is None else request)
        return answer if known.kind is Kind.UNARY else list(answer)
