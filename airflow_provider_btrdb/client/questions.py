"""Many small questions about streams, answered with few calls: is it there, how many, which version, newest point.

Made for whoever waits for thousands of streams. Existence takes at most `MOST_CALLS` calls where the server answers
SQL, whatever the number of questions; without SQL every uuid takes one call of its own. Versions and newest points take
one call for each stream. All go side by side, within the connection's `max_in_flight`.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias
from uuid import UUID

from airflow_provider_btrdb.client import codec, rpcs
from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client._aio.stream import AsyncStream
from airflow_provider_btrdb.client.bulk import Work, in_flight
from airflow_provider_btrdb.client.errors import BadSqlError, BTrDBError, NotSupportedError, PermissionDeniedError
from airflow_provider_btrdb.client.models import Point
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

ALONE = 3
"""So many questions of one kind are asked one by one; more are asked together."""
MOST_CALLS = 3 * ALONE + 1
"""Uuids, names and counts take `ALONE` calls each at most, visible prefixes one."""


@dataclass(frozen=True, slots=True)
class Known:
    """Is there a stream with this uuid that this key may see? -> bool; PermissionDeniedError"""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class Named:
    """Is there a stream with this collection and name that this key may see? -> bool"""

    collection: str
    name: str

    @property
    def prefix(self) -> str:
        """What the collection begins with: all of it."""
        return self.collection


@dataclass(frozen=True, slots=True)
class Counted:
    """How many streams in collections with this prefix have these tags and annotations? -> int

    A value of None means that the key exists, with any value.
    """

    prefix: str
    tags: frozenset[tuple[str, str | None]] = frozenset()
    annotations: frozenset[tuple[str, str | None]] = frozenset()


@dataclass(frozen=True, slots=True)
class VisibleUnder:
    """May this key see any stream in a collection with this prefix? -> bool"""

    prefix: str


@dataclass(frozen=True, slots=True)
class VersionOf:
    """The newest version of the stream's data. -> int; StreamNotFoundError"""

    uuid: UUID


@dataclass(frozen=True, slots=True)
class NewestOf:
    """The stream's last point. -> Point or None; StreamNotFoundError"""

    uuid: UUID


Question: TypeAlias = Known | Named | Counted | VisibleUnder | VersionOf | NewestOf
Answers: TypeAlias = dict[Question, Any]
"""What the question's class says, or a BTrDBError in its place where the call for one stream failed."""


def ask_many(questions: Iterable[Question]) -> Work[Answers]:
    """See `BTrDB.ask_many`."""
    asked = list(dict.fromkeys(questions))

    async def work(calls: AsyncCalls) -> Answers:
        answers: Answers = {}
        uuids = [question for question in asked if isinstance(question, Known)]
        named = [question for question in asked if isinstance(question, Named)]
        counted = [question for question in asked if isinstance(question, Counted)]
        visible = [question for question in asked if isinstance(question, VisibleUnder)]
        by_sql = await _by_sql(calls, _KNOWN, [str(question.uuid) for question in uuids])
        if by_sql is None:
            answers |= await _one_by_one(calls, uuids, _known)
        else:
            there = {UUID(row["uuid"]) for row in by_sql}
            answers |= {question: question.uuid in there for question in uuids}
        by_sql = await _by_sql(calls, _NAMED, [[question.collection, question.name] for question in named])
        if by_sql is None:
            answers |= await _by_lookup(calls, named)
        else:
            found = {(row["collection"], row["name"]) for row in by_sql}
            answers |= {question: (question.collection, question.name) in found for question in named}
        answers |= await _by_lookup(calls, counted)
        answers |= await _visible(calls, visible)
        answers |= await _one_by_one(
            calls, [question for question in asked if isinstance(question, VersionOf | NewestOf)], _data
        )
        return answers

    return work


_KNOWN = "SELECT uuid::text AS uuid FROM streams WHERE uuid::text IN (SELECT json_array_elements_text($1::json))"
_NAMED = (
    "SELECT DISTINCT collection, name FROM streams WHERE (collection, name) IN "
    "(SELECT pair->>0, pair->>1 FROM json_array_elements($1::json) AS pair)"
)


async def _by_sql(calls: AsyncCalls, statement: str, values: Sequence[Any]) -> list[dict[str, Any]] | None:
    """The rows of the statement for many values; None for few, and where the server does not answer this SQL."""
    if len(values) <= ALONE:
        return None
    request = codec.request(pb.SQLQueryParams, query=statement, params=[json.dumps(values)])
    try:
        return await calls.listing(rpcs.SQL_QUERY, request, lambda page: codec.from_sql_rows(page.rows))
    except (NotSupportedError, PermissionDeniedError, BadSqlError):
        return None


async def _by_lookup(calls: AsyncCalls, asked: Sequence[Named] | Sequence[Counted]) -> Answers:
    """Few questions are each a lookup of their own; of many the catalogue below common prefixes is read once."""
    if len(asked) <= ALONE:
        return await _one_by_one(calls, asked, _looked_up)
    counts: dict[Question, int] = dict.fromkeys(asked, 0)

    async def read(prefix: str) -> None:
        mine = [question for question in asked if question.prefix.startswith(prefix)]
        by_name = {(each.prefix, each.name): each for each in mine if isinstance(each, Named)}
        filters = [each for each in mine if isinstance(each, Counted)]
        request = codec.request(pb.LookupStreamsParams, collection=prefix, is_collection_prefix=True)
        async for page in calls.pages(rpcs.LOOKUP_STREAMS, request):
            for found in page.results:
                tags = codec.from_key_values(found.tags)
                named = by_name.get((found.collection, tags.get("name") or ""))
                if named is not None:
                    counts[named] += 1
                for each in filters:
                    counts[each] += matches(each, found.collection, tags, found.annotations)

    await in_flight(ALONE, covering_prefixes([question.prefix for question in asked], ALONE), read)
    return {question: bool(count) if isinstance(question, Named) else count for question, count in counts.items()}


def matches(question: Counted, collection: str, tags: Mapping[str, str | None], annotations: Any) -> bool:
    """Does a stream count? The rule that the server has for LookupStreams."""
    if not collection.startswith(question.prefix):
        return False
    if any(key not in tags or value not in (None, tags[key] or "") for key, value in question.tags):
        return False
    if not question.annotations:
        return True
    stored = codec.from_key_values(annotations)
    return all(key in stored and value in (None, stored[key]) for key, value in question.annotations)


def covering_prefixes(texts: Iterable[str], most: int) -> list[str]:
    """At most so many prefixes, none the beginning of another, such that each text begins with one; long ones."""
    ordered = sorted(set(texts))
    shared = [len(common_beginning([left, right])) for left, right in pairwise(ordered)]
    # Cut between the neighbours that have least in common.
    cuts = sorted(sorted(range(len(shared)), key=lambda place: shared[place])[: most - 1])
    begins, ends = [0, *(cut + 1 for cut in cuts)], [*(cut + 1 for cut in cuts), len(ordered)]
    prefixes = [common_beginning([ordered[begin], ordered[end - 1]]) for begin, end in zip(begins, ends, strict=True)]
    kept: list[str] = []
    for prefix in sorted(set(prefixes)):  # a beginning sorts before what begins with it
        if not kept or not prefix.startswith(kept[-1]):
            kept.append(prefix)
    return kept


def common_beginning(texts: Iterable[str]) -> str:
    """The longest text that all of them begin with."""
    ordered = sorted(texts)
    first, last = ordered[0], ordered[-1]
    length = next((at for at, (left, right) in enumerate(zip(first, last, strict=False)) if left != right), None)
    return first[: min(len(first), len(last))] if length is None else first[:length]


async def _visible(calls: AsyncCalls, asked: Sequence[VisibleUnder]) -> Answers:
    if not asked:
        return {}
    request = codec.request(pb.ListCollectionsParams, prefix=common_beginning([question.prefix for question in asked]))
    collections = await calls.listing(rpcs.LIST_COLLECTIONS, request, lambda page: page.collections)
    return {question: any(name.startswith(question.prefix) for name in collections) for question in asked}


async def _one_by_one(
    calls: AsyncCalls, asked: Sequence[Question], answer: Callable[[AsyncCalls, Any], Awaitable[Any]]
) -> Answers:
    answers: Answers = {}

    async def one(question: Question) -> None:
        answers[question] = await answer(calls, question)

    await in_flight(calls.config.max_in_flight, asked, one)
    return answers


async def _known(calls: AsyncCalls, question: Known) -> bool | BTrDBError:
    try:
        return await AsyncStream(calls, question.uuid).exists()
    except PermissionDeniedError as error:
        return error


async def _looked_up(calls: AsyncCalls, question: Named | Counted) -> bool | int:
    if isinstance(question, Named):
        fields: dict[str, Any] = {"collection": question.collection, "tags": {"name": question.name}}
    else:
        fields = {
            "collection": question.prefix,
            "is_collection_prefix": True,
            "tags": dict(question.tags),
            "annotations": dict(question.annotations),
        }
    for key in fields.keys() & {"tags", "annotations"}:
        fields[key] = codec.to_key_values(fields[key])
    request = codec.request(pb.LookupStreamsParams, **fields)
    count = sum(await calls.listing(rpcs.LOOKUP_STREAMS, request, lambda page: [len(page.results)]))
    return bool(count) if isinstance(question, Named) else count


async def _data(calls: AsyncCalls, question: VersionOf | NewestOf) -> int | Point | BTrDBError | None:
    stream = AsyncStream(calls, question.uuid)
    try:
        return await (stream.version() if isinstance(question, VersionOf) else stream.latest())
    except BTrDBError as error:
        return error
