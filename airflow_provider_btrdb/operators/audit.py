"""Operators that check what is in BTrDB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import AirflowFailException, BaseOperator, Context, airflow_errors, failure
from airflow_provider_btrdb.hooks.task import HasBTrDBHook, set_label

SHOWN_FINDINGS = 100


class MetadataCheckResult(TypedDict):
    """What `BTrDBMetadataCheckOperator` leaves in XCom."""

    streams: int
    """Streams checked."""
    checks: int
    """Checks made of each of them; all passed."""


class BTrDBMetadataCheckOperator(HasBTrDBHook, BaseOperator):
    """Check tags and annotations of all streams below a collection prefix; fail when one breaks a rule.

    Works without SQL and in bounded memory, except that `unique` keeps the values it has seen. The checks of a key:
    `present: True` (has text), `absent: True`, `one_of: [...]`, `pattern: "..."` (for the whole text), and
    `unique: True` (within its collection). All but `present` pass for a stream that lacks the key. The log lists the
    first 100 findings, the error counts them all. Streams that the API key may not read are not checked, so fewer than
    `min_streams` visible ones fail the task too.

    :param collection: the prefix; "" is everything that the key may see. (templated)
    :param tags: tag -> its checks, as in `{"unit": {"present": True, "one_of": ["volts", "amps"]}}`. (templated)
    :param annotations: annotation key -> its checks. (templated)
    :param min_streams: how many streams there must be at least. (templated)
    :param retry_on_failure: False fails the task for good when a check fails, whatever its retries.
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`MetadataCheckResult`
    """

    template_fields: Sequence[str] = ("collection", "tags", "annotations", "min_streams", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"tags": "json", "annotations": "json"}
    ui_color = "#e4ecdf"

    def __init__(
        self,
        *,
        collection: str,
        tags: Mapping[str, Mapping[str, Any]] | None = None,
        annotations: Mapping[str, Mapping[str, Any]] | None = None,
        min_streams: int | str = 1,
        retry_on_failure: bool = True,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.collection = collection
        self.tags = tags
        self.annotations = annotations
        self.min_streams = min_streams
        self.retry_on_failure = retry_on_failure
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> MetadataCheckResult:
        """Look at every stream once."""
        from airflow_provider_btrdb.audit.metadata_checks import MetadataChecks, parse_rules

        set_label(context, [self.collection])
        with airflow_errors():
            rules = parse_rules(self.tags or {}, self.annotations or {})
            least = self._least()
            checks = MetadataChecks(rules, SHOWN_FINDINGS)
            for stream in self.hook.get_client().lookup_iter(self.collection):
                checks.see(stream)
        if checks.streams < least:
            raise failure(
                f"{checks.streams} streams below {self.collection!r}, at least {least} wanted: "
                "the others are absent, or invisible to this key",
                retryable=self.retry_on_failure,
            )
        for finding in checks.findings:
            self.log.error("%s", finding)
        if checks.broken:
            counts = ", ".join(f"{key} {check}: {count}" for (key, check), count in sorted(checks.broken.items()))
            raise failure(
                f"{checks.broken.total()} findings in {checks.streams} streams below {self.collection!r} ({counts}), "
                f"such as {checks.findings[0]}",
                retryable=self.retry_on_failure,
            )
        self.log.info("%d streams pass %d checks", checks.streams, len(rules))
        return {"streams": checks.streams, "checks": len(rules)}

    def _least(self) -> int:
        try:
            return int(self.min_streams)
        except (TypeError, ValueError):
            raise AirflowFailException(f"min_streams is {self.min_streams!r} and must be a whole number") from None
