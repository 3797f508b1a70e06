"""Dividing a catalogue among workers: a collection belongs to one shard, the same on every machine."""

from __future__ import annotations

import hashlib

from airflow_provider_btrdb.client.errors import InputError


def shard_of(collection: str, count: int) -> int:
    """The shard of a collection, 0 to count - 1: the first 8 bytes of its SHA-256, modulo the count."""
    return int.from_bytes(hashlib.sha256(collection.encode()).digest()[:8]) % count


def in_shard(collection: str, shard: tuple[int, int] | None) -> bool:
    """Does shard k of n, (k, n), have the collection? None has all."""
    return shard is None or shard_of(collection, shard[1]) == shard[0]


def checked_shard(shard: tuple[int, int] | None) -> tuple[int, int] | None:
    """(k, n) with 0 <= k < n, or None. Raises InputError."""
    if shard is None:
        return None
    number, count = shard
    if not 0 <= number < count:
        raise InputError(f"shard {number} of {count}: shards are counted from 0 to {count - 1}")
    return number, count
