"""`BTrDBHook`: an Airflow connection -> a BTrDB connection, one per process, endpoint and credentials."""

from __future__ import annotations

import asyncio
import difflib
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from airflow.providers.common.compat.connection import get_async_connection, get_async_extra_dejson

from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    AirflowNotFoundException,
    BaseHook,
    Connection,
    airflow_errors,
)
from airflow_provider_btrdb.get_provider_info import CONNECTION_FORM

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import AsyncBTrDB, BTrDB, ConnectionConfig, CreateResult, Stream, StreamSet
    from airflow_provider_btrdb.client.models import StreamSpec

_FORM: Any = CONNECTION_FORM
_FIELDS: Mapping[str, Any] = _FORM["conn-fields"]

TLS_PORT = 4411
PLAIN_PORT = 4410

_SECURITY_FIELDS = ("tls", "ca_bundle", "client_cert", "client_key", "authority", "insecure_api_key")

# Channels are made when first used, never before a fork: the process id is part of the key, and a loop keeps its own.
_clients: dict[tuple[int, ConnectionConfig], BTrDB] = {}
_clients_lock = threading.Lock()
_async_clients: dict[asyncio.AbstractEventLoop, dict[ConnectionConfig, AsyncBTrDB]] = {}


def _forget_parent() -> None:
    """In a forked child: a thread of the parent may have held the lock, and is not there to release it."""
    global _clients_lock  # noqa: PLW0603 - a lock of another process cannot be released, only replaced
    _clients_lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_parent)


class BTrDBHook(BaseHook):
    """Talk to BTrDB through the Airflow connection `btrdb_conn_id`.

    Making a hook does no I/O. `get_client()` and `get_async_client()` give the connection, shared by all hooks of
    the process (of the loop, for the asynchronous one); never close it. The calls that BTrDB users know stand here
    as well, and their errors are Airflow's: AirflowFailException, or BTrDBTransientException where a retry has a
    chance. Calls on what they return (a stream, a client) raise BTrDB's own errors; make them inside
    `with BTrDBHook.airflow_errors():` to have those turned too.
    """

    airflow_errors = staticmethod(airflow_errors)

    conn_name_attr = "btrdb_conn_id"
    default_conn_name = "btrdb_default"
    conn_type = "btrdb"
    hook_name = "BTrDB"

    def __init__(self, btrdb_conn_id: str = default_conn_name, **_foreign: Any) -> None:
        # Callers such as common-sql hand every extra of the connection to the constructor; they are read from the
        # connection itself, so whatever comes here besides the id has no meaning.
        super().__init__()
        self.btrdb_conn_id = btrdb_conn_id

    # ------------------------------------------------------------ the connection form

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The form of Airflow before 3.2; newer ones read the same from the provider's metadata."""
        behaviour = _FORM["ui-field-behaviour"]
        return {
            "hidden_fields": behaviour["hidden-fields"],
            "relabeling": behaviour["relabeling"],
            "placeholders": behaviour["placeholders"],
        }

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """The extra fields of the form of Airflow before 3.2, which knows text, whole numbers and switches only."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from flask_babel import lazy_gettext
        from wtforms import BooleanField, IntegerField, StringField
        from wtforms.validators import Optional

        fields: dict[str, Any] = {}
        for name, field in _FIELDS.items():
            schema = field["schema"]
            about = {"label": lazy_gettext(field["label"]), "description": field["description"]}
            default = schema.get("default")
            if schema["type"] == "boolean":
                fields[name] = BooleanField(**about, default=default)
            else:
                kind = IntegerField if schema["type"] == "integer" else StringField
                fields[name] = kind(**about, default=default, validators=[Optional()], widget=BS3TextFieldWidget())
        return fields

    def test_connection(self) -> tuple[bool, str]:
        """Behind the button "Test": what the server is, or what is wrong, within the connection's timeouts."""
        from airflow_provider_btrdb.client import BTrDB
        from airflow_provider_btrdb.client.errors import BTrDBError

        try:
            with BTrDB(self._config(self._connection(), retry_total=0)) as db:
                info = db.check()
        except (BTrDBError, AirflowFailException) as error:
            return False, str(error)
        return True, f"BTrDB {info['majorVersion']}.{info['minorVersion']} (build {info['build']}) answers"

    # ------------------------------------------------------------ connections

    def get_client(self) -> BTrDB:
        """The connection for synchronous code. Raises AirflowFailException for settings that make no sense."""
        from airflow_provider_btrdb.client import BTrDB

        with airflow_errors():
            config = self._config(self._connection())
            with _clients_lock:
                key = (os.getpid(), config)
                if key not in _clients:
                    _clients[key] = BTrDB(config)
                return _clients[key]

    def get_conn(self) -> BTrDB:
        """The same: the name that Airflow gives it."""
        return self.get_client()

    async def get_async_client(self) -> AsyncBTrDB:
        """The connection for the running event loop, as triggers use it. Raises InputError for senseless settings."""
        from airflow_provider_btrdb.client import AsyncBTrDB

        connection = await get_async_connection(self.btrdb_conn_id)
        config = self._config(connection, await get_async_extra_dejson(connection))
        for loop in [loop for loop in _async_clients if loop.is_closed()]:
            del _async_clients[loop]
        clients = _async_clients.setdefault(asyncio.get_running_loop(), {})
        if config not in clients:
            clients[config] = AsyncBTrDB(config)
        return clients[config]

    # ------------------------------------------------------------ what BTrDB users know

    def info(self) -> dict[str, Any]:
        """See `BTrDB.info`."""
        with airflow_errors():
            return self.get_client().info()

    def query(self, stmt: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """See `BTrDB.query`: the rows of an SQL SELECT on the table `streams`, parameters as $1, $2 ..."""
        with airflow_errors():
            return self.get_client().query(stmt, params)

    def list_collections(self, starts_with: str = "") -> list[str]:
        """See `BTrDB.list_collections`."""
        with airflow_errors():
            return self.get_client().list_collections(starts_with)

    def collection_metadata(self, prefix: str) -> tuple[dict[str, int], dict[str, int]]:
        """See `BTrDB.collection_metadata`: tag counts and annotation key counts below a prefix."""
        with airflow_errors():
            return self.get_client().collection_metadata(prefix)

    def create(
        self,
        uuid: UUID | str,
        collection: str,
        tags: Mapping[str, str] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> Stream:
        """See `BTrDB.create`."""
        with airflow_errors():
            return self.get_client().create(uuid, collection, tags, annotations)

    def create_many(
        self,
        specs: Iterable[StreamSpec | Mapping[str, Any]],
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[CreateResult]:
        """See `BTrDB.create_many`: one result for each specification, in their order."""
        with airflow_errors():
            return self.get_client().create_many(specs, progress=progress)

    def stream_from_uuid(self, uuid: UUID | str) -> Stream:
        """See `BTrDB.stream_from_uuid`."""
        with airflow_errors():
            return self.get_client().stream_from_uuid(uuid)

    def streams(
        self,
        *identifiers: UUID | str | Iterable[UUID | str],
        versions: int | Sequence[int] | None = None,
        is_collection_prefix: bool = False,
    ) -> StreamSet:
        """See `BTrDB.streams`."""
        with airflow_errors():
            return self.get_client().streams(*identifiers, versions=versions, is_collection_prefix=is_collection_prefix)

    def streams_in_collection(
        self,
        *collection: str,
        is_collection_prefix: bool = True,
        tags: Mapping[str, str | None] | None = None,
        annotations: Mapping[str, str | None] | None = None,
    ) -> list[Stream]:
        """See `BTrDB.streams_in_collection`."""
        with airflow_errors():
            return self.get_client().streams_in_collection(
                *collection, is_collection_prefix=is_collection_prefix, tags=tags, annotations=annotations
            )

    # ------------------------------------------------------------ settings

    def _connection(self) -> Connection:
        try:
            return self.get_connection(self.btrdb_conn_id)
        except AirflowNotFoundException:
            raise AirflowFailException(
                f"there is no Airflow connection {self.btrdb_conn_id!r}: add one of type btrdb, for example with "
                f"airflow connections add {self.btrdb_conn_id} --conn-type btrdb --conn-host HOST --conn-password KEY"
            ) from None

    def _config(
        self, connection: Connection, extra: Mapping[str, Any] | None = None, **overrides: Any
    ) -> ConnectionConfig:
        """The connection's fields -> ConnectionConfig. Raises InputError naming the connection and the field."""
        from airflow_provider_btrdb.client.errors import InputError

        try:
            return _config_of(connection, connection.extra_dejson if extra is None else extra, overrides)
        except InputError as error:
            raise InputError(f"Airflow connection {self.btrdb_conn_id!r}: {error.message}") from None


def _config_of(connection: Connection, extra: Mapping[str, Any], overrides: Mapping[str, Any]) -> ConnectionConfig:
    from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, is_loopback
    from airflow_provider_btrdb.client.errors import InputError

    if connection.conn_type != BTrDBHook.conn_type:
        raise InputError(f"its type is {connection.conn_type!r}, not {BTrDBHook.conn_type!r}")
    _check_names(extra)
    if not connection.host:
        raise InputError("the host is empty; it is the name or address of the BTrDB server")
    host = connection.host.strip("[]")
    mode = _text(extra, "tls") or "auto"
    if mode not in ("auto", "on", "off"):
        raise InputError(f"tls is {mode!r}; it is auto (TLS unless the host is this machine), on or off")
    with_tls = mode == "on" or (mode == "auto" and not is_loopback(host))
    port = connection.port or (TLS_PORT if with_tls else PLAIN_PORT)
    options: dict[str, Any] = {name: _number(extra, name) for name in _NUMBERS if extra.get(name) not in (None, "")}
    if "max_message_mb" in options:
        options["max_message_bytes"] = int(options.pop("max_message_mb") * 2**20)
    if options.get("max_in_flight", 0.5).is_integer():
        options["max_in_flight"] = int(options["max_in_flight"])
    return ConnectionConfig(
        endpoint=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        api_key=connection.password or None,
        tls=TlsConfig(**{name: _text(extra, name) for name in ("ca_bundle", "client_cert", "client_key")})
        if with_tls
        else None,
        authority=_text(extra, "authority"),
        proxy=_text(extra, "proxy") or "environment",
        insecure_api_key=_switch(extra, "insecure_api_key"),
        **{**options, **overrides},
    )


_NUMBERS = ("connect_timeout", "request_timeout", "retry_total", "max_in_flight", "max_rps", "max_message_mb")


def _check_names(extra: Mapping[str, Any]) -> None:
    """Unknown extras are worth a warning; one that looks like a misspelt security setting is refused."""
    from airflow_provider_btrdb.client.errors import InputError

    for name in extra:
        if name in _FIELDS:
            continue
        near = difflib.get_close_matches(name, _FIELDS, n=1)
        if near and near[0] in _SECURITY_FIELDS:
            raise InputError(f"the extra {name!r} is unknown; did you mean {near[0]!r}?")
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(_FIELDS)}"
        warnings.warn(f"the extra {name!r} of a btrdb connection is unknown and ignored{hint}", stacklevel=2)


def _text(extra: Mapping[str, Any], name: str) -> str | None:
    from airflow_provider_btrdb.client.errors import InputError

    value = extra.get(name)
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise InputError(f"{name} is {value!r} and must be text")
    return value


def _number(extra: Mapping[str, Any], name: str) -> float:
    from airflow_provider_btrdb.client.errors import InputError

    try:
        number = float(extra[name])  # the connection URI form carries numbers as text
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is {extra[name]!r} and must be a number")
    return number


def _switch(extra: Mapping[str, Any], name: str) -> bool:
    from airflow_provider_btrdb.client.errors import InputError

    value = extra.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0", ""):
        raise InputError(f"{name} is {value!r} and must be true or false")
    return text in ("true", "1")
