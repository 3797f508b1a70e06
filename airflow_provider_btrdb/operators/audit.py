"""Operators that check what is in BTrDB."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict
from urllib.parse import quote

from airflow_provider_btrdb import settings
from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    BaseOperator,
    BaseOperatorLink,
    Context,
    airflow_errors,
    failure,
)
from airflow_provider_btrdb.hooks.facets import Check, TellsLineage, of_collection, of_file
from airflow_provider_btrdb.hooks.task import set_label
from airflow_provider_btrdb.operators.arguments import as_json, browsable, progress, shard, truth
from airflow_provider_btrdb.operators.storage import read_text, stored

if TYPE_CHECKING:
    from airflow_provider_btrdb.audit import Audit, RunResult, Suite

SHOWN_FINDINGS = 100
SHOWN_FAILURES = 5
"""Of each check, in the log; the stored run has all."""
PAGE_KEY = "audit_page"
"""XCom: where a browser finds the page of the run."""
LEVELS = {"error": logging.ERROR, "fail": logging.ERROR, "warn": logging.WARNING}


class MetadataCheckResult(TypedDict):
    """What `BTrDBMetadataCheckOperator` leaves in XCom."""

    streams: int
    """Streams checked."""
    checks: int
    """Checks made of each of them; all passed."""


class BTrDBMetadataCheckOperator(TellsLineage, BaseOperator):
    """Check tags and annotations of all streams below a collection prefix; fail when one breaks a rule.

    Works without SQL and in bounded memory, except that `unique` keeps the values it has seen. The checks of a key:
    `present: True` (has text), `absent: True`, `one_of: [...]`, `pattern: "..."` (for the whole text), and
    `unique: True` (within its collection). All but `present` pass for a stream that lacks the key. The log lists the
    first 100 findings, the error counts them all. Streams that the API key may not read are not checked, so fewer than
    `min_streams` visible ones fail the task too. OpenLineage is told which checks passed, also when the task fails.

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
            db = self.hook.get_client()
            for stream in db.lookup_iter(self.collection):
                checks.see(stream)
        told = [Check(rule.check, rule.label, not checks.broken[rule.label, rule.check]) for rule in rules]
        told.append(Check("min_streams", None, checks.streams >= least))
        self.tell(inputs=[of_collection(db.config.endpoint, self.collection, told)])
        self.hook.report_lineage(inputs=[self.collection] if self.collection else [])
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


class AuditResult(TypedDict):
    """What `BTrDBAuditOperator` leaves in XCom, also when it fails because of what it found."""

    path: str
    """The folder of this run: `run.json`, its failures, `collections.jsonl`, `report.html`."""
    run_id: str
    """Of the audit; sorts by time."""
    outcome: str
    """pass, warn, fail, or error: a check could not run, or coverage dropped."""
    counts: dict[str, int]
    """Checks by outcome: error, fail, warn, skipped, pass."""
    new: int | None
    """Failures that the last run did not have, of all checks that can be compared; None where none can be."""
    fixed: int | None
    """Failures that only the last run had."""
    still: int | None
    """Failures that both have."""


class AuditPageLink(BaseOperatorLink):
    """The button "Audit" of a task whose run a browser can open."""

    name = "Audit"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """See Airflow. "" where there is no page that a browser can open."""
        from airflow.providers.common.compat.sdk import XCom

        return str(XCom.get_value(ti_key=ti_key, key=PAGE_KEY) or "")


class BTrDBAuditOperator(TellsLineage, BaseOperator):
    """Make all checks of a suite, keep the run, and fail when a check fails. Changes nothing in BTrDB.

    All checks run, whatever becomes of each. The run is stored below `output_path` and compared with the last run of
    the same suite (and shard) there; only then does the task fail: for good, since a retry mends no data, when a check
    fails or could not run, or when less is seen than before. Checks that warn are in the log only. A connection that
    breaks fails the task with retries; nothing is stored then. OpenLineage is told which checks passed, also when the
    task fails.

    A suite that is written in the DAG file is rendered by Airflow: a pattern with two braces side by side goes into
    Airflow's `literal()`. What a file says, or another task returns, is not rendered.

    :param suite: a path or URL that ends in .yaml or .json; a mapping as in such a file; or the text of one, with a
        line break or in braces, as another task returns it. (templated)
    :param output_path: the folder or URL (`s3://...`) that keeps the runs of all days, each in a folder of its own.
        Tasks on other machines must reach it. (templated)
    :param browse_url: where a browser finds `output_path`; the button "Audit" of the task leads to the page of its run
        there. With `[btrdb] audit_page` and runs in `[btrdb] audit_path` it leads to Airflow's own page. (templated)
    :param failures_format: how each run keeps its failures: `jsonl`, or `parquet`, which needs the extra `arrow`. A run
        is compared with the last one whatever their formats.
    :param accept_drop: what is seen now is enough from now on, even if it is less than before. (templated)
    :param use_sql: False asks no SQL, even where the server answers it.
    :param shard: look at the points of this part of the collections only: 0 is the first of `shards`, and the one that
        checks metadata. (templated)
    :param shards: how many parts there are. (templated)
    :param suite_conn_id: the Airflow connection of the suite's object storage. (templated)
    :param output_conn_id: the Airflow connection of the object storage of `output_path`. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`AuditResult`
    """

    template_fields: Sequence[str] = (
        "suite",
        "output_path",
        "browse_url",
        "accept_drop",
        "shard",
        "shards",
        "suite_conn_id",
        "output_conn_id",
        "btrdb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"suite": "yaml"}
    operator_extra_links = (AuditPageLink(),)
    ui_color = "#e4ecdf"

    def __init__(
        self,
        *,
        suite: str | Mapping[str, Any],
        output_path: str,
        browse_url: str | None = None,
        failures_format: str = "jsonl",
        accept_drop: bool | str = False,
        use_sql: bool = True,
        shard: int | str | None = None,
        shards: int | str | None = None,
        suite_conn_id: str | None = None,
        output_conn_id: str | None = None,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.suite = suite
        self.output_path = output_path
        self.browse_url = browse_url
        self.failures_format = failures_format
        self.accept_drop = accept_drop
        self.use_sql = use_sql
        self.shard = shard
        self.shards = shards
        self.suite_conn_id = suite_conn_id
        self.output_conn_id = output_conn_id
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> AuditResult:
        """Make the checks, store the run, and only then judge it."""
        from airflow_provider_btrdb.audit import load_last, run_suite
        from airflow_provider_btrdb.audit.failures import format_named

        part = shard(self.shard, self.shards)
        accept_drop = truth(self.accept_drop, "accept_drop")
        pages = browsable(self.browse_url)
        if not self.output_path:
            raise AirflowFailException(f"output_path is {self.output_path!r}: name the folder of the runs")
        folder = stored(self.output_path, self.output_conn_id)
        with airflow_errors():
            format_named(self.failures_format)
            suite = self._read_suite()
            set_label(context, [suite.name if part is None else f"shard {part[0]} of {part[1]}"])
            work = run_suite(
                suite,
                last=load_last(folder, suite.name, part),
                accept_drop=accept_drop,
                use_sql=self.use_sql,
                shard=part,
                progress=progress(self.log),
            )
            audit = self.hook.get_client().run(work)
        with closing(audit):
            path = self._keep(audit, folder)
        run = audit.result
        self._tell(suite, run, path)
        url = self._page_url(run, pages)
        if url and "ti" in context:
            context["ti"].xcom_push(key=PAGE_KEY, value=url)
        result = _result(run, path)
        error = run.error()
        if error is not None:
            # Airflow keeps what a task returns, and a task that fails returns nothing.
            if "ti" in context:
                context["ti"].xcom_push(key="return_value", value=result)
            raise AirflowFailException(f"{error}; the run is in {path}") from error
        return result

    def _read_suite(self) -> Suite:
        """Raises InputError, or AirflowFailException where there is no such file."""
        from airflow_provider_btrdb.audit import parse_suite
        from airflow_provider_btrdb.documents.files import kind_of

        given = self.suite
        if isinstance(given, Mapping):
            given = as_json(given, "checks", "suite")
        if not isinstance(given, str):
            raise AirflowFailException(f"suite is {given!r}: give a path, a mapping, or the text of a suite")
        if given.lstrip().startswith("{"):
            return parse_suite(given, "json")
        if "\n" in given:
            return parse_suite(given, "yaml")
        kind = kind_of(given)
        if kind is None:
            raise AirflowFailException(f"suite is {given!r} and must end in .yaml or .json, which says the format")
        text = read_text(given, self.suite_conn_id, "suite")
        return parse_suite(text, kind, source=given)

    def _keep(self, audit: Audit, folder: Any) -> str:
        """Store the run with its pages, and show it in the log."""
        from airflow_provider_btrdb.audit import run_text, store
        from airflow_provider_btrdb.report import store_pages

        store(audit, folder, failures=self.failures_format)
        run = audit.result
        store_pages(folder, run)
        path = f"{self.output_path.rstrip('/')}/{run.run_id}"
        level = LEVELS.get(run.outcome, logging.INFO)
        self.log.log(level, "%s\nThe run is in %s", run_text(run, most=SHOWN_FAILURES), path)
        return path

    def _page_url(self, run: RunResult, pages: str) -> str:
        """Of the page in a browser; "" where there is none."""
        page = f"{quote(run.run_id)}/report.html"
        if pages:
            return f"{pages.rstrip('/')}/{page}"
        if settings.pages_shown() and settings.audit_path() == self.output_path.rstrip("/"):
            return f"{settings.pages_url()}/{page}"
        return ""

    def _tell(self, suite: Suite, run: RunResult, path: str) -> None:
        prefix = suite.selector.beginning
        told = [Check("coverage", None, run.coverage.outcome == "pass")]
        for check in run.checks:
            if check.outcome != "skipped":
                column = check.fields[0] if len(check.fields) == 1 else None
                told.append(Check(check.name, column, check.outcome == "pass"))
        read = [of_file(self.suite)] if isinstance(self.suite, str) and suite.source == self.suite else []
        seen = of_collection(run.endpoint, prefix, told)
        self.tell(inputs=[*read, seen], outputs=[of_file(f"{path}/run.json")])
        self.hook.report_lineage(inputs=[prefix] if prefix else [])


def _result(run: RunResult, path: str) -> AuditResult:
    compared = [check.comparison for check in run.checks if check.comparison is not None]
    return {
        "path": path,
        "run_id": run.run_id,
        "outcome": run.outcome,
        "counts": dict(run.counts.items()),
        "new": sum(one.new for one in compared) if compared else None,
        "fixed": sum(one.fixed for one in compared) if compared else None,
        "still": sum(one.still for one in compared) if compared else None,
    }
