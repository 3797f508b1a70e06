"""API keys and what they allow. A key is known by its SHA-256 only, and no text of this module holds one."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import grpc

from airflow_provider_btrdb.devserver.errors import DevServerError, StatusError, denied
from airflow_provider_btrdb.protocol import INVALID_KEY_TEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """Collection prefixes per permission; the empty prefix is every collection."""

    read: tuple[str, ...] = ()
    insert: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    obliterate: tuple[str, ...] = ()

    def require(self, permission: str, collection: str) -> None:
        """PERMISSION_DENIED unless one of the prefixes fits."""
        if not collection.startswith(getattr(self, permission)):
            raise denied(permission, collection)


PERMISSIONS = tuple(field.name for field in fields(Grant))
EVERYTHING = Grant(read=("",), insert=("",), delete=("",), obliterate=("",))


@dataclass(frozen=True, slots=True)
class Keys:
    """Who may call. Without keys and without a public grant everybody may do everything."""

    grants: Mapping[bytes, Grant]
    public: Grant | None

    def identify(self, metadata: Iterable[tuple[str, str | bytes]]) -> Grant:
        """The grant of a call; UNAUTHENTICATED for a wrong key, or for none where one is needed."""
        if not self.grants and self.public is None:
            return EVERYTHING
        for name, value in metadata:
            if name == "authorization":
                scheme, _, key = str(value).partition(" ")
                grant = self.grants.get(_digest(key)) if scheme.lower() == "bearer" else None
                if grant is None:
                    break
                return grant
        else:
            if self.public is not None:
                return self.public
        raise StatusError(grpc.StatusCode.UNAUTHENTICATED, INVALID_KEY_TEXT)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def no_keys() -> Keys:
    """An open server."""
    return Keys({}, None)


def single_key(key: str) -> Keys:
    """One key that may do everything."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise DevServerError("an API key must be printable ASCII without spaces")
    return Keys({_digest(key): EVERYTHING}, None)


def parse_keys(tables: Mapping[str, Any]) -> Keys:
    """Keys from a mapping shaped like the keys file; see docs/devserver.md."""
    unknown = set(tables) - {"keys", "public"}
    if unknown:
        raise DevServerError(f"keys: unknown table {sorted(unknown)[0]!r}, expected [keys.NAME] and [public]")
    grants: dict[bytes, Grant] = {}
    for name, table in _table(tables.get("keys", {}), "keys").items():
        entries = dict(_table(table, f"keys.{name}"))
        key = entries.pop("key", None)
        if not isinstance(key, str):
            raise DevServerError(f"keys: [keys.{name}] needs a key, a string")
        single = single_key(key)
        if single.grants.keys() & grants.keys():
            raise DevServerError(f"keys: [keys.{name}] repeats the key of another entry")
        grants |= dict.fromkeys(single.grants, _grant(entries, f"keys.{name}"))
    public = tables.get("public")
    if not grants and public is None:
        raise DevServerError("keys: no key and no [public] table")
    return Keys(grants, None if public is None else _grant(_table(public, "public"), "public"))


def read_keys(path: Path) -> Keys:
    """Keys from a TOML file."""
    try:
        return parse_keys(tomllib.loads(path.read_text()))
    except OSError as error:
        raise DevServerError(f"cannot read keys file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise DevServerError(f"keys file {path} is not valid TOML") from None


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DevServerError(f"keys: [{where}] is not a table")
    return value


def _grant(entries: Mapping[str, Any], where: str) -> Grant:
    for permission, prefixes in entries.items():
        if permission not in PERMISSIONS:
            raise DevServerError(
                f"keys: [{where}] has unknown permission {permission!r} (known: {', '.join(PERMISSIONS)})"
            )
        if not isinstance(prefixes, list | tuple) or not all(isinstance(prefix, str) for prefix in prefixes):
            raise DevServerError(f"keys: [{where}] {permission} must be a list of collection prefixes")
    return Grant(**{permission: tuple(prefixes) for permission, prefixes in entries.items()})
