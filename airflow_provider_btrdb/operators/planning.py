"""What the operators of provision.py share: specifications that are read, plans in files, and their application."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict
from urllib.parse import quote

from airflow_provider_btrdb._airflow import AirflowFailException, airflow_errors, failure, worth_a_retry
from airflow_provider_btrdb.hooks.facets import TellsLineage, Touched, of_file
from airflow_provider_btrdb.hooks.task import set_label
from airflow_provider_btrdb.operators.arguments import as_json, browsable, progress, rows, shard
from airflow_provider_btrdb.operators.emitting import Written, aliases, emit
from airflow_provider_btrdb.operators.storage import read_text, write_file

if TYPE_CHECKING:
    from airflow_provider_btrdb.provision import Applied, Plan, Spec

SHOWN_CHANGES = 200
"""In the log; the plan's page shows more, and its file has all."""
PAGE_KEY = "plan_page"
"""XCom: where a browser finds the plan's page."""
CHANGES = {"created": "CREATE", "updated": "ALTER", "destroyed": "DROP"}
"""Outcomes, and OpenLineage's words for them."""
PLAN_ENDING, PAGE_ENDING, RESULTS_ENDING = ".plan.json", ".plan.html", ".results.jsonl"


class PlanResult(TypedDict):
    """What a plan leaves in XCom."""

    path: str
    """The plan: JSON, every change with what is there now and what is wanted."""
    sha256: str
    """Of that file, in hexadecimal."""
    page: str
    """The same as one HTML file."""
    verdict: str
    """"empty", "changes", or "destructive" when streams would be destroyed."""
    counts: dict[str, int]
    """create, update, move, destroy, hidden, ambiguous, taken, unchanged, unmanaged"""
    summary: str
    """The counts in a sentence."""


class ApplyResult(TypedDict):
    """What applying a plan leaves in XCom."""

    path: str
    """JSON lines, one for each change: collection, name, uuid, planned, outcome, error, detail."""
    sha256: str
    """Of the plan that was applied."""
    counts: dict[str, int]
    """created, updated, destroyed, unchanged; stale and failed are 0, as the task fails otherwise."""
    verified: bool


class MakesPlans(TellsLineage):
    """Reads a specification, compares it with the database, and keeps the plan in files."""

    spec: Any
    output_path: str
    spec_params: Mapping[str, Any] | None
    prefixes: Any
    defaults: Mapping[str, Any] | None
    namespace: str | None
    prune: bool
    shard: int | str | None
    shards: int | str | None
    browse_url: str | None
    spec_conn_id: str | None
    output_conn_id: str | None
    task_id: str
    log: Any

    def _planned(self, context: Any) -> tuple[Plan, PlanResult]:
        from airflow_provider_btrdb.provision import make_plan, plan_bytes, plan_text, sha256_of, summary

        part = shard(self.shard, self.shards)
        pages = browsable(self.browse_url)
        with airflow_errors():
            spec = self._spec()
            set_label(context, [spec.source if part is None else f"shard {part[0]} of {part[1]}"])
            db = self.hook.get_client()
            plan = db.run(make_plan(spec, prune=self.prune, shard=part))
        self.log.info("%s", plan_text(plan, most=SHOWN_CHANGES))
        data = plan_bytes(plan)
        name = _file_name(context, self.task_id)
        stem = f"{self.output_path.rstrip('/')}/{name}"
        result: PlanResult = {
            "path": stem + PLAN_ENDING,
            "sha256": sha256_of(data),
            "page": stem + PAGE_ENDING,
            "verdict": plan.verdict,
            "counts": plan.counts,
            "summary": summary(plan),
        }
        facts = [("Specification", spec.source), ("Server", db.config.endpoint), ("SHA-256", result["sha256"])]
        self._keep(plan, data, result, facts)
        read = [of_file(self.spec)] if isinstance(self.spec, str) else []
        self.tell(inputs=read, outputs=[of_file(result["path"], size=len(data))])
        if pages:
            url = f"{pages.rstrip('/')}/{quote(name + PAGE_ENDING)}"
            context["ti"].xcom_push(key=PAGE_KEY, value=url)
        return plan, result

    def _keep(self, plan: Plan, data: bytes, result: PlanResult, facts: list[tuple[str, str]]) -> None:
        from airflow_provider_btrdb.report import page_html, plan_page

        write_file(result["path"], self.output_conn_id, data)
        page = page_html(plan_page(plan, facts=facts))
        write_file(result["page"], self.output_conn_id, page.encode())
        self.log.info(
            "the plan is %s, with SHA-256 %s; its page is %s", *(result[k] for k in ("path", "sha256", "page"))
        )

    def _spec(self) -> Spec:
        """Raises InputError, or AirflowFailException where there is no such file."""
        from airflow_provider_btrdb.provision import format_of, parse_spec, spec_from_rows

        common: dict[str, Any] = {
            "prefixes": () if self.prefixes is None else self.prefixes,
            "defaults": self.defaults,
            "namespace": _namespace(self.namespace),
        }
        if isinstance(self.spec, str):
            kind = format_of(self.spec)
            text = read_text(self.spec, self.spec_conn_id, "specification")
            return parse_spec(text, kind, source=self.spec, params=self.spec_params, **common)
        if isinstance(self.spec, Mapping) and "streams" in self.spec:
            text = as_json(self.spec, "streams", "specification")
            return parse_spec(text, "json", source="spec, streams", params=self.spec_params, **common)
        return spec_from_rows(rows(self.spec, "spec"), source="spec", **common)


class AppliesPlans(TellsLineage):
    """Applies a plan, and keeps what became of each change in a file beside it."""

    prune: bool
    max_destroy: int
    verify: bool
    emit_asset: bool
    output_conn_id: str | None
    outlets: list[Any]
    log: Any

    def _applied(self, context: Any, plan: Plan, path: str, sha256: str, *, replans: bool = False) -> ApplyResult:
        """`replans`: does a retry of the task make a new plan?"""
        from airflow_provider_btrdb.provision import applied_text, apply_plan

        if self.emit_asset:
            aliases(self.outlets)
        with airflow_errors():
            db = self.hook.get_client()
            work = apply_plan(
                plan,
                prune=self.prune,
                max_destroy=self.max_destroy,
                verify=self.verify,
                progress=progress(self.log),
            )
            applied = db.run(work)
        self.log.info("%s", applied_text(applied))
        changes = [(change, _touched(applied, outcome)) for outcome, change in CHANGES.items()]
        self.tell_changed(*changes, inputs=[of_file(path)])
        results = path.removesuffix(PLAN_ENDING) + RESULTS_ENDING
        lines = [json.dumps(result.as_row(), ensure_ascii=False) + "\n" for result in applied.results]
        write_file(results, self.output_conn_id, "".join(lines).encode())
        _raise_unless_good(applied, results, replans)
        counts = applied.counts
        if self.emit_asset:
            there = [Written(one.uuid, one.collection) for one in applied.results if one.kind != "destroy"]
            emit(context, self.outlets, db, there, counts)
        return {"path": results, "sha256": sha256, "counts": counts, "verified": applied.verified}


def _touched(applied: Applied, outcome: str) -> list[Touched]:
    found = [result for result in applied.results if result.outcome == outcome]
    return [Touched(uuid=result.uuid, collection=result.collection, name=result.name) for result in found]


def _raise_unless_good(applied: Applied, results: str, replans: bool) -> None:
    """Worth a retry only when every failure is; what a retry finds done it leaves alone. A stale stream needs a new
    plan."""
    error = applied.error()
    if error is None:
        return
    causes = [result.error for result in applied.bad] or [applied.verify_error]
    retryable = all(replans if cause is None else worth_a_retry(cause) for cause in causes)
    raise failure(f"{error}; every change is in {results}", retryable=retryable) from error


def _namespace(namespace: Any) -> Any:
    from uuid import UUID

    try:
        return UUID(str(namespace)) if namespace is not None else None
    except ValueError:
        raise AirflowFailException(f"namespace is {namespace!r}, which is no uuid") from None


def _file_name(context: Any, task_id: str) -> str:
    """DAG, run, task and map index, so that no two tasks write the same file."""
    ti = context.get("ti")
    parts = [task_id] if ti is None else [ti.dag_id, ti.run_id, ti.task_id]
    name = "/".join(re.sub(r"[^\w.-]", "_", part) for part in parts)
    mapped = ti is not None and ti.map_index >= 0
    return f"{name}-{ti.map_index}" if mapped else name
