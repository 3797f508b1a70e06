"""The channels of a connection: one for each endpoint, the API key that travels with every call, and their end."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
import grpc.aio

from airflow_provider_btrdb.client.channel import bearer, channel_settings
from airflow_provider_btrdb.client.codec import readable
from airflow_provider_btrdb.client.config import ConnectionConfig, NewApiKey
from airflow_provider_btrdb.client.errors import ClientUnusableError
from airflow_provider_btrdb.client.rpcs import Rpc
from airflow_provider_btrdb.client.status import error_from_rpc, task_is_cancelled
from airflow_provider_btrdb.protocol import Kind


class AsyncLink:
    """How calls reach the server. Channels connect when they are first used, so making a link does no I/O."""

    def __init__(self, config: ConnectionConfig, new_api_key: NewApiKey | None) -> None:
        settings = channel_settings(config)
        self.metadata = bearer(config.api_key)
        self._new_api_key = new_api_key
        self.config = config
        if settings.credentials is None:
            self._channels = [grpc.aio.insecure_channel(name, options=settings.options) for name in settings.targets]
        else:
            self._channels = [
                grpc.aio.secure_channel(name, settings.credentials, options=settings.options)
                for name in settings.targets
            ]
        self._at = 0
        self._stubs: dict[tuple[int, Rpc], Any] = {}
        self._process = os.getpid()
        self._closed = False

    async def close(self) -> None:
        """Close the channels; calls under way end with an error, later ones are refused."""
        self._closed = True
        if os.getpid() == self._process:
            for channel in self._channels:
                await channel.close()

    def stub(self, rpc: Rpc) -> Any:
        """What makes the call. Raises ClientUnusableError after `close` and after a fork."""
        if self._closed:
            raise ClientUnusableError("this BTrDB connection is closed", endpoint=self.config.endpoint)
        if os.getpid() != self._process:
            raise ClientUnusableError(
                "this BTrDB connection was opened before the process forked: open another one in the child",
                endpoint=self.config.endpoint,
            )
        stub = self._stubs.get((self._at, rpc))
        if stub is None:
            method, channel = rpc.method, self._channels[self._at]
            kinds = {
                Kind.UNARY: channel.unary_unary,
                Kind.SERVER_STREAM: channel.unary_stream,
                Kind.BIDI_STREAM: channel.stream_stream,
            }
            stub = self._stubs[self._at, rpc] = kinds[method.kind](
                method.path,
                request_serializer=None if rpc.raw_request else method.request.SerializeToString,
                response_deserializer=None if rpc.raw_response else readable(method.response),
            )
        return stub

    def error(self, error: BaseException, rpc: Rpc, uuid: UUID | str | None) -> BaseException:
        """What a call raises for gRPC's error: one of ours, or the cancellation that somebody asked for."""
        if self._closed and not task_is_cancelled():
            return ClientUnusableError(
                "this BTrDB connection was closed during the call", endpoint=self.config.endpoint
            )
        return error_from_rpc(error, rpc.name, self.config, uuid) if isinstance(error, grpc.RpcError) else error

    @property
    def position(self) -> int:
        """Which endpoint of the list is in use."""
        return self._at

    def try_next_endpoint(self, failed: int) -> None:
        """The endpoint at that position does not answer: the next call goes to the next one of the list.

        Of several calls that failed together only the first moves on.
        """
        if self._at == failed:
            self._at = (self._at + 1) % len(self._channels)

    async def has_new_key(self, used: Any) -> bool:
        """After the key in `used`, the metadata of a call, was refused: is there another? It is used from then on."""
        if self.metadata != used:
            return True  # another call has fetched it meanwhile
        if self._new_api_key is None:
            return False
        key: Any = self._new_api_key()
        if inspect.isawaitable(key):
            key = await key
        if self.metadata != used:
            return True
        if key == self.config.api_key:
            return False
        self.use_key(key)
        return True

    def use_key(self, key: str | None) -> None:
        """The API key of every call from now on. Raises InputError for text that cannot be sent."""
        self.config = replace(self.config, api_key=key)
        self.metadata = bearer(key)
