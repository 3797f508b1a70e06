"""What sensors wait for, as values: which questions to ask, and what the answers mean. Makes no calls.

One condition serves poke, reschedule and deferrable mode, so that these cannot differ.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from airflow_provider_btrdb.client.questions import Answers, Question

SHOWN = 3


class Condition(Protocol):
    """Something that becomes true some day."""

    def questions(self) -> list[Question]:
        """What must be asked each time. Raises InputError for a condition that makes no sense."""

    def verdict(self, answers: Answers) -> dict[str, Any] | None:
        """The sensor's result, or None: not yet. Raises BTrDBError where waiting is pointless."""

    def lacking(self, answers: Answers) -> str:
        """What is not yet as it should be, for the log."""


@dataclass(frozen=True, kw_only=True)
class StreamsExist:
    """See `StreamExistsSensor`."""

    streams: Sequence[str]
    collection: str | None
    tags: Mapping[str, str | None] | None
    annotations: Mapping[str, str | None] | None
    min_count: int
    require_visible_prefix: str | None

    def questions(self) -> list[Question]:
        """One for each stream, or one for their number."""
        from airflow_provider_btrdb.client.questions import VisibleUnder

        asked = list(self._asked().values()) or [self._counted()]
        if self.require_visible_prefix is not None:
            asked.append(VisibleUnder(self.require_visible_prefix))
        return asked

    def verdict(self, answers: Answers) -> dict[str, Any] | None:
        """How many were found, when they are enough."""
        from airflow_provider_btrdb.client.errors import StreamNotFoundError
        from airflow_provider_btrdb.client.questions import VisibleUnder

        prefix = self.require_visible_prefix
        if prefix is not None and not answers[VisibleUnder(prefix)]:
            raise StreamNotFoundError(
                f"no stream below {prefix!r} is visible to this key: the prefix is misspelt, has no streams, or the "
                "key may not read it"
            )
        if not self.streams:
            count = answers[self._counted()]
            return {"found": count} if count >= self.min_count else None
        return None if self._missing(answers) else {"found": len(self.streams)}

    def lacking(self, answers: Answers) -> str:
        """Which streams, or how many."""
        if not self.streams:
            return f"{answers[self._counted()]} streams that this key may see, {self.min_count} wanted"
        missing = self._missing(answers)
        shown = ", ".join(missing[:SHOWN]) + (", ..." if len(missing) > SHOWN else "")
        return f"{len(missing)} of {len(self.streams)} are absent, or invisible to this key: {shown}"

    def _missing(self, answers: Answers) -> list[str]:
        missing = []
        for stream, question in self._asked().items():
            answer = answers[question]
            if isinstance(answer, Exception):
                raise answer
            if not answer:
                missing.append(stream)
        return missing

    def _asked(self) -> dict[str, Question]:
        from airflow_provider_btrdb.client.lookups import parse_identifier
        from airflow_provider_btrdb.client.questions import Known, Named

        asked: dict[str, Question] = {}
        for stream in self.streams:
            uuid, collection, name = parse_identifier(stream)
            asked[stream] = Named(collection, name) if uuid is None else Known(uuid)
        return asked

    def _counted(self) -> Question:
        from airflow_provider_btrdb.client.questions import Counted

        pairs = [frozenset((values or {}).items()) for values in (self.tags, self.annotations)]
        return Counted(self.collection or "", *pairs)


@dataclass(frozen=True, kw_only=True)
class VersionPast:
    """See `StreamVersionSensor`."""

    uuid: str
    version: int

    def questions(self) -> list[Question]:
        """One."""
        return [self._question()]

    def verdict(self, answers: Answers) -> dict[str, Any] | None:
        """The new version. Raises StreamNotFoundError."""
        now = _answer(answers, self._question())
        return {"uuid": self.uuid, "from_version": self.version, "version": now} if now > self.version else None

    def lacking(self, answers: Answers) -> str:
        """Where the stream is."""
        return f"stream {self.uuid} is at version {answers[self._question()]}, not past {self.version}"

    def _question(self) -> Question:
        from airflow_provider_btrdb.client.questions import VersionOf

        return VersionOf(UUID(self.uuid))


@dataclass(frozen=True, kw_only=True)
class NewestYounger:
    """See `StreamFreshnessSensor`. Times in seconds."""

    uuid: str
    younger_than: float
    clock_skew: float

    def questions(self) -> list[Question]:
        """One."""
        return [self._question()]

    def verdict(self, answers: Answers) -> dict[str, Any] | None:
        """The newest point's time. Raises StreamNotFoundError and FuturePointError."""
        from airflow_provider_btrdb.client.errors import FuturePointError
        from airflow_provider_btrdb.client.times import format_ns

        point = _answer(answers, self._question())
        if point is None:
            return None
        age = (time.time_ns() - point.time) / 1e9
        if age < -self.clock_skew:
            raise FuturePointError(
                f"the newest point of stream {self.uuid} is at {format_ns(point.time)}, {-age:.0f} s in the future: "
                "its age says nothing"
            )
        return {"uuid": self.uuid, "newest_ns": point.time} if age < self.younger_than else None

    def lacking(self, answers: Answers) -> str:
        """How old the newest point is."""
        point = answers[self._question()]
        if point is None:
            return f"stream {self.uuid} has no points"
        age = (time.time_ns() - point.time) / 1e9
        return f"the newest point of stream {self.uuid} is {age:.1f} s old, {self.younger_than:g} s wanted"

    def _question(self) -> Question:
        from airflow_provider_btrdb.client.questions import NewestOf

        return NewestOf(UUID(self.uuid))


def _answer(answers: Answers, question: Question) -> Any:
    answer = answers[question]
    if isinstance(answer, Exception):
        raise answer
    return answer
