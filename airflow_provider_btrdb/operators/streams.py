"""Operators that make, change and remove streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    AirflowSkipException,
    BaseOperator,
    Context,
    airflow_errors,
)
from airflow_provider_btrdb.hooks.facets import TellsLineage, Touched
from airflow_provider_btrdb.hooks.task import set_label
from airflow_provider_btrdb.operators.arguments import failures, names, progress, rows
from airflow_provider_btrdb.operators.emitting import Written, aliases, emit

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import BTrDB, CreateResult, StreamSpec


class CreateStreamResult(TypedDict):
    """What `CreateStreamOperator` leaves in XCom."""

    streams: int
    """Rows given."""
    created: int
    existed: int
    updated: int
    """Of those that existed, how many were changed; 0 unless `if_exists="update"`."""


class CreateStreamOperator(TellsLineage, BaseOperator):
    """Make sure that streams exist; one row or a list of any length, in one task.

    A row is a mapping with `collection` and `name`, and if wanted `unit`, `ingress`, `distiller`, `annotations`
    (text to text or None) and `uuid`. A row without uuid is known by its collection and name: one stream with that
    collection and name is adopted whatever its uuid, a missing one is created with a uuid derived from the two, so
    that the task can be repeated at will. A row with a uuid that another stream holds fails. Calls run side by side;
    one that fails never hides the others.

    The task fails without retries when a row is wrong or refused, and with retries when all failures may pass.

    :param streams: rows, or one row. (templated)
    :param if_exists: what to do about streams that are there: "ignore" leaves them as they are; "update" gives them
        the tags and annotations of their row, keeping what the row does not mention; "fail" fails for good before
        anything is created (do not combine it with retries: a second try would find what the first one made); "skip"
        skips the task when all of them are there. (templated)
    :param emit_asset: make an asset event for each stream that was created or updated (of more than 100, for each of
        their collections), through the AssetAlias among the task's outlets. A try that ends before its events are made
        leaves none, as the next one finds the streams there.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`CreateStreamResult`
    """

    template_fields: Sequence[str] = ("streams", "if_exists", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json"}
    ui_color = "#dbe9f4"

    def __init__(
        self,
        *,
        streams: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        if_exists: str = "ignore",
        emit_asset: bool = False,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.streams = streams
        self.if_exists = if_exists
        self.emit_asset = emit_asset
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> CreateStreamResult:
        """Create what is missing, then see to what was there."""
        if self.if_exists not in ("ignore", "update", "fail", "skip"):
            raise AirflowFailException(f"if_exists is {self.if_exists!r}; it is ignore, update, fail or skip")
        if self.emit_asset:
            aliases(self.outlets)
        given = rows(self.streams, "streams")
        with airflow_errors():
            db = self.hook.get_client()
            specs = self._checked(given)
            set_label(context, (spec.path for spec in specs))
            if self.if_exists == "fail":
                self._refuse_existing(db, specs)
            results = db.create_many(given, progress=progress(self.log))
        existed = [result for result in results if result.outcome == "existed"]
        counts: CreateStreamResult = {
            "streams": len(results),
            "created": sum(result.outcome == "created" for result in results),
            "existed": len(existed),
            "updated": 0,
        }
        failed = [(result.spec.path, result.error) for result in results if result.error is not None]
        if failed:
            raise failures(failed, len(results), self.log)
        created = [result for result in results if result.outcome == "created"]
        updated = self._update(db, given, results) if self.if_exists == "update" else []
        counts["updated"] = len(updated)
        changed = created + updated
        self.tell_changed(("CREATE", _touched(created)), ("ALTER", _touched(updated)))
        if self.emit_asset:
            written = [Written(result.uuid, result.spec.collection) for result in changed]
            emit(context, self.outlets, db, written, counts)
        self.log.info("%(streams)d streams: %(created)d created, %(existed)d existed, %(updated)d updated", counts)
        if self.if_exists == "skip" and results and not counts["created"]:
            raise AirflowSkipException(f"all {len(results)} streams are there already")
        return counts

    def _checked(self, given: Sequence[Any]) -> list[StreamSpec]:
        from airflow_provider_btrdb.client import StreamSpec

        return [StreamSpec.of(row, f"row {number}") for number, row in enumerate(given, start=1)]

    def _refuse_existing(self, db: BTrDB, specs: Sequence[StreamSpec]) -> None:
        from airflow_provider_btrdb.client.questions import Known, Named

        asked = [Named(spec.collection, spec.name) if spec.uuid is None else Known(spec.uuid) for spec in specs]
        answers = db.ask_many(asked)
        there = [spec.path for spec, question in zip(specs, asked, strict=True) if answers[question]]
        if there:
            shown = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
            raise AirflowFailException(f"{len(there)} of {len(specs)} streams exist already: {shown}")

    def _update(
        self, db: BTrDB, given: Sequence[Mapping[str, Any]], results: Sequence[CreateResult]
    ) -> list[CreateResult]:
        """Give existing streams what their row mentions; those that were changed."""
        from airflow_provider_btrdb.protocol import TAG_KEYS

        there = [(row, result) for row, result in zip(given, results, strict=True) if result.outcome == "existed"]
        changes = [
            (
                result.uuid,
                {
                    "tags": {key: row[key] for key in TAG_KEYS if key in row},
                    "annotations": row.get("annotations") or {},
                },
            )
            for row, result in there
        ]
        with airflow_errors():
            written = db.update_many(changes, settle=True, progress=progress(self.log))
        failed = [
            (result.spec.path, one.error)
            for (_, result), one in zip(there, written, strict=True)
            if one.error is not None
        ]
        if failed:
            raise failures(failed, len(given), self.log)
        return [result for (_, result), one in zip(there, written, strict=True) if one.outcome == "ok"]


class UpdateStreamResult(TypedDict):
    """What `UpdateStreamOperator` leaves in XCom."""

    streams: int
    """Rows given."""
    updated: int
    unchanged: int
    """Streams that were as wanted already."""


class UpdateStreamOperator(TellsLineage, BaseOperator):
    """Change tags, annotations and collections of streams that exist.

    A row is a mapping with `stream` (a uuid or `collection/name`) and what to change: `tags`, `annotations`
    (mappings; what they do not mention stays), `collection`, `remove_tags`, `remove_annotations` (lists of keys). A
    stream that is as wanted is left alone, so a repeated task changes nothing; when somebody else changes a stream
    at the same moment, it is read and changed again. A new `name` or `collection` makes a stream's old
    `collection/name` mean nothing: such a row names its stream by uuid, or the task cannot be repeated.

    :param updates: rows, or one row. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`UpdateStreamResult`
    """

    template_fields: Sequence[str] = ("updates", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"updates": "json"}
    ui_color = "#dbe9f4"

    def __init__(
        self,
        *,
        updates: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.updates = updates
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> UpdateStreamResult:
        """Find the streams, then change those that differ."""
        changes = self._changes()
        set_label(context, changes)
        with airflow_errors():
            db = self.hook.get_client()
            found = db.streams(*changes)
            pairs = list(zip(found, changes.values(), strict=True))
            written = db.update_many(pairs, settle=True, progress=progress(self.log))
        changed = [stream for stream, one in zip(found, written, strict=True) if one.outcome == "ok"]
        self.tell_changed(("ALTER", [Touched.of(stream) for stream in changed]))
        failed = [(name, one.error) for name, one in zip(changes, written, strict=True) if one.error is not None]
        if failed:
            raise failures(failed, len(changes), self.log)
        updated = sum(one.outcome == "ok" for one in written)
        self.log.info("%d streams: %d updated, the others were as wanted", len(written), updated)
        return {"streams": len(written), "updated": updated, "unchanged": len(written) - updated}

    def _changes(self) -> dict[str, dict[str, Any]]:
        changes: dict[str, dict[str, Any]] = {}
        for number, row in enumerate(rows(self.updates, "updates"), start=1):
            if not isinstance(row, Mapping) or not row.get("stream"):
                raise AirflowFailException(f"row {number} does not say which stream: give it as stream")
            name = str(row["stream"])
            if name in changes:
                raise AirflowFailException(f"row {number}: {name} stands in an earlier row too")
            changes[name] = {key: value for key, value in row.items() if key != "stream"}
        return changes


class ObliterateStreamResult(TypedDict):
    """What `ObliterateStreamOperator` leaves in XCom."""

    streams: int
    """Streams named."""
    obliterated: int
    absent: int
    """Streams that were not there, or that this key may not see."""


class ObliterateStreamOperator(TellsLineage, BaseOperator):
    """Remove streams with all their points, for good. A uuid that was obliterated can never be used again.

    Nothing is removed unless every stream named was found, so that a misspelt name stops the task. After a try that
    broke off half-way the next one finds some streams gone: `if_absent="ignore"` lets it finish.

    :param streams: a uuid or `collection/name`, or a list of them. (templated)
    :param confirm: must be True; the task fails otherwise.
    :param if_absent: "fail", or "ignore" for streams that are not there, or that this key may not see.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`ObliterateStreamResult`
    """

    template_fields: Sequence[str] = ("streams", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json"}
    ui_color = "#f4d9d6"

    def __init__(
        self,
        *,
        streams: str | Sequence[str],
        confirm: bool = False,
        if_absent: str = "fail",
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.streams = streams
        self.confirm = confirm
        self.if_absent = if_absent
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> ObliterateStreamResult:
        """Find them all, then remove them."""
        from airflow_provider_btrdb.client.errors import StreamNotFoundError

        if self.confirm is not True:
            raise AirflowFailException("obliterating streams cannot be undone: set confirm=True if it is meant")
        if self.if_absent not in ("fail", "ignore"):
            raise AirflowFailException(f"if_absent is {self.if_absent!r}; it is fail or ignore")
        wanted = list(dict.fromkeys(names(self.streams)))
        set_label(context, wanted)
        with airflow_errors():
            db = self.hook.get_client()
            absent = db.missing(wanted) if self.if_absent == "ignore" else []
            found = db.streams([name for name in wanted if name not in absent])
            gone: list[Touched] = []
            try:
                for stream in found:
                    with suppress(StreamNotFoundError) if self.if_absent == "ignore" else nullcontext():
                        stream.obliterate()
                        gone.append(Touched.of(stream))
            finally:
                self.tell_changed(("DROP", gone))
        done = len(gone)
        self.log.info("%d streams obliterated", done)
        return {"streams": len(wanted), "obliterated": done, "absent": len(wanted) - done}


def _touched(results: Sequence[CreateResult]) -> list[Touched]:
    return [Touched(uuid=result.uuid, collection=result.spec.collection, name=result.spec.name) for result in results]
