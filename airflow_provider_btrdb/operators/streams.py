"""Operators that make and change streams."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import BaseOperator, Context, failure, worth_a_retry
from airflow_provider_btrdb.hooks.task import HasBTrDBHook

if TYPE_CHECKING:
    from airflow_provider_btrdb.client import CreateResult

PROGRESS_SECONDS = 5.0


class CreateStreamResult(TypedDict):
    """What `CreateStreamOperator` leaves in XCom."""

    streams: int
    """Rows given."""
    created: int
    existed: int


class CreateStreamOperator(HasBTrDBHook, BaseOperator):
    """Make sure that streams exist; one row or a list of any length, in one task.

    A row is a mapping with `collection` and `name`, and if wanted `unit`, `ingress`, `distiller`, `annotations`
    (text to text or None) and `uuid`. A row without uuid is known by its collection and name: a stream that is there
    is left as it is, a missing one is created with a uuid derived from the two, so that the task can be repeated at
    will. Calls run side by side; one that fails never hides the others.

    The task fails without retries when a row is wrong or refused, and with retries when all failures may pass.

    :param streams: rows, or one row. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`CreateStreamResult`
    """

    template_fields: Sequence[str] = ("streams", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"streams": "json"}
    ui_color = "#dbe9f4"

    def __init__(
        self,
        *,
        streams: Sequence[Mapping[str, Any]] | Mapping[str, Any],
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.streams = streams
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> CreateStreamResult:
        """Create what is missing."""
        results = self.hook.create_many(self._rows(), progress=self._progress())
        counts = {outcome: sum(result.outcome == outcome for result in results) for outcome in ("created", "existed")}
        self.log.info(
            "%d streams: %d created, %d were there already", len(results), counts["created"], counts["existed"]
        )
        failed = [result for result in results if result.error is not None]
        if failed:
            raise self._failure(failed, len(results))
        return {"streams": len(results), "created": counts["created"], "existed": counts["existed"]}

    def _rows(self) -> list[Any]:
        rows: Any = self.streams  # a template may have made anything of it
        if isinstance(rows, Mapping):
            return [rows]
        if isinstance(rows, str) or not isinstance(rows, Iterable):
            raise failure(f"streams is {rows!r} and must be a row or a list of rows", retryable=False)
        return list(rows)

    def _progress(self) -> Any:
        last = time.monotonic()

        def tell(done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_SECONDS:
                last = time.monotonic()
                self.log.info("%d of %d streams", done, total)

        return tell

    def _failure(self, failed: Sequence[CreateResult], total: int) -> Exception:
        for result in failed:
            self.log.error("%s: %s", result.spec.path, result.error)
        first = "; ".join(f"{result.spec.path}: {result.error}" for result in failed[:3])
        more = f" and {len(failed) - 3} more, see the log" if len(failed) > 3 else ""
        retryable = all(result.error is not None and worth_a_retry(result.error) for result in failed)
        return failure(f"{len(failed)} of {total} streams failed: {first}{more}", retryable=retryable)
