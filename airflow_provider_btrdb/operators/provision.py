"""Operators that make the streams of a server what a specification says, by way of a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypedDict

from airflow_provider_btrdb._airflow import (
    AirflowFailException,
    BaseOperator,
    BaseOperatorLink,
    Context,
    airflow_errors,
)
from airflow_provider_btrdb.hooks.task import set_label
from airflow_provider_btrdb.operators.planning import PAGE_KEY, AppliesPlans, ApplyResult, MakesPlans, PlanResult
from airflow_provider_btrdb.operators.storage import read_file

__all__ = [
    "ApplyResult",
    "BTrDBApplyOperator",
    "BTrDBPlanOperator",
    "PlanPageLink",
    "PlanResult",
    "ProvisionResult",
    "ProvisionStreamsOperator",
]


class PlanPageLink(BaseOperatorLink):
    """The button "Plan" of a task that has a `browse_url`."""

    name = "Plan"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """See Airflow. "" where there is no page that a browser can open."""
        from airflow.providers.common.compat.sdk import XCom

        return str(XCom.get_value(ti_key=ti_key, key=PAGE_KEY) or "")


class BTrDBPlanOperator(MakesPlans, BaseOperator):
    """See what would have to change so that the streams are what a specification says. Changes nothing.

    The specification is a file in YAML, JSON or CSV, or data of another task. The database is the only state: what
    is there is listed once, below the prefixes and in the collections that the specification names, and compared. The
    plan goes into `output_path` as a JSON file with the property version of every stream, and as an HTML page; the log
    has it as text. Streams that cannot be planned (`hidden` from the API key, `ambiguous`, `taken`) are counted, and
    fail the task that applies the plan.

    Templates in a specification are rendered after it was read as data, with the names of `for_each` and `spec_params`
    only; those in rows are not. What is written in the DAG file itself is rendered by Airflow first, with Airflow's
    names: wrap a mapping that has templates of its own in Airflow's `literal()`. What another task returns is not
    rendered by Airflow.

    The task fails without retries when anything is wrong with the specification, and says all of it.

    :param spec: a path or URL that ends in .yaml, .json or .csv; a mapping with `streams` as in such a file; or rows
        (mappings), one for each stream. (templated)
    :param output_path: the folder or URL (`s3://...`) that gets the files, below the DAG, the run and the task. Tasks
        on other machines must reach it. (templated)
    :param spec_params: names and values for the templates of the specification. (templated)
    :param prefixes: collection prefixes to manage, besides those that the specification says. (templated)
    :param defaults: what streams have unless the specification says otherwise: unit, annotations ... (templated)
    :param namespace: the uuid from which uuids are derived, where the specification says none. (templated)
    :param prune: plan to destroy streams below the prefixes that the specification does not have.
    :param shard: make only this part of the plan: 0 is the first of `shards`. A collection is in the same part on every
        machine, so that mapped tasks share a specification. (templated)
    :param shards: how many parts there are. (templated)
    :param browse_url: where a browser finds `output_path`; the button "Plan" of the task leads there. (templated)
    :param spec_conn_id: the Airflow connection of the specification's object storage. (templated)
    :param output_conn_id: the Airflow connection of the object storage of `output_path`. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`PlanResult`
    """

    template_fields: Sequence[str] = (
        "spec",
        "output_path",
        "spec_params",
        "prefixes",
        "defaults",
        "namespace",
        "shard",
        "shards",
        "browse_url",
        "spec_conn_id",
        "output_conn_id",
        "btrdb_conn_id",
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"spec": "json", "spec_params": "json", "defaults": "json"}
    operator_extra_links = (PlanPageLink(),)
    ui_color = "#e4ecdf"

    def __init__(
        self,
        *,
        spec: str | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        output_path: str,
        spec_params: Mapping[str, Any] | None = None,
        prefixes: str | Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
        namespace: str | None = None,
        prune: bool = False,
        shard: int | str | None = None,
        shards: int | str | None = None,
        browse_url: str | None = None,
        spec_conn_id: str | None = None,
        output_conn_id: str | None = None,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.output_path = output_path
        self.spec_params = spec_params
        self.prefixes = prefixes
        self.defaults = defaults
        self.namespace = namespace
        self.prune = prune
        self.shard = shard
        self.shards = shards
        self.browse_url = browse_url
        self.spec_conn_id = spec_conn_id
        self.output_conn_id = output_conn_id
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> PlanResult:
        """Read, compare, write."""
        return self._planned(context)[1]


class BTrDBApplyOperator(AppliesPlans, BaseOperator):
    """Make the changes of a plan, and no others.

    The file must be the very one that was approved: with another SHA-256 nothing is done. Every change is made only if
    its stream is still as the plan saw it; the server itself refuses the others, which become `stale` and need a new
    plan. Calls run side by side within the connection's `max_in_flight`; one that fails never hides the others.
    Afterwards the streams are read again. What became of each change goes into a file beside the plan.

    The task fails when any change was not made: with retries when all failures may pass, without when one may not. A
    retry leaves alone what is done already.

    :param plan: what `BTrDBPlanOperator` left in XCom, or the path of the plan's file. (templated)
    :param sha256: the hash of the plan that may be applied; needed when `plan` is a path, and counts before the one in
        `plan`. (templated)
    :param prune: let the plan destroy streams; one that does fails for good otherwise, before anything is changed.
    :param max_destroy: a plan, or part of one, that destroys more streams fails for good, before anything is changed.
    :param verify: read the changed streams again; one that is not as planned fails the task.
    :param emit_asset: make an asset event for each stream of the plan that is there now (of more than 100, for each of
        their collections), through the AssetAlias among the task's outlets.
    :param output_conn_id: the Airflow connection of the object storage of the plan. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`ApplyResult`
    """

    template_fields: Sequence[str] = ("plan", "sha256", "output_conn_id", "btrdb_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"plan": "json"}
    ui_color = "#dbe9f4"

    def __init__(
        self,
        *,
        plan: Mapping[str, Any] | str,
        sha256: str | None = None,
        prune: bool = False,
        max_destroy: int = 10,
        verify: bool = True,
        emit_asset: bool = False,
        output_conn_id: str | None = None,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.sha256 = sha256
        self.prune = prune
        self.max_destroy = max_destroy
        self.verify = verify
        self.emit_asset = emit_asset
        self.output_conn_id = output_conn_id
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> ApplyResult:
        """Check the file, then apply it."""
        from airflow_provider_btrdb.provision import load_plan

        path, sha256 = self._approved()
        data = read_file(path, self.output_conn_id, "plan")
        with airflow_errors():
            plan = load_plan(data, sha256)
        set_label(context, [path if plan.shard is None else f"shard {plan.shard[0]} of {plan.shard[1]}"])
        return self._applied(context, plan, path, sha256)

    def _approved(self) -> tuple[str, str]:
        """Path and hash."""
        given = self.plan if isinstance(self.plan, Mapping) else {"path": self.plan}
        path, sha256 = given.get("path"), self.sha256 or given.get("sha256")
        if not isinstance(path, str) or not path:
            raise AirflowFailException(f"plan is {self.plan!r}: give what a plan task left in XCom, or a path")
        if not isinstance(sha256, str) or not sha256:
            raise AirflowFailException(f"sha256 is missing: it says which plan at {path} was approved")
        return path, sha256


class ProvisionResult(TypedDict):
    """What `ProvisionStreamsOperator` leaves in XCom."""

    plan: PlanResult
    applied: ApplyResult | None
    """None with `plan_only`."""


class ProvisionStreamsOperator(MakesPlans, AppliesPlans, BaseOperator):
    """Make the streams what a specification says: plan and apply in one task, without anybody looking at the plan.

    As `BTrDBPlanOperator` and `BTrDBApplyOperator` one after the other. A retry makes a new plan, which has what is
    left; so the task is retried for stale streams too. With `plan_only` the task is the drift report of a specification
    that was applied before.

    :param spec: as of `BTrDBPlanOperator`. (templated)
    :param output_path: the folder or URL that gets the files, below the DAG, the run and the task. (templated)
    :param plan_only: make the plan and change nothing.
    :param spec_params: names and values for the templates of the specification. (templated)
    :param prefixes: collection prefixes to manage, besides those that the specification says. (templated)
    :param defaults: what streams have unless the specification says otherwise. (templated)
    :param namespace: the uuid from which uuids are derived, where the specification says none. (templated)
    :param prune: destroy streams below the prefixes that the specification does not have.
    :param max_destroy: a plan, or part of one, that destroys more streams fails for good, before anything is changed.
    :param verify: read the changed streams again; one that is not as planned fails the task.
    :param shard: provision only this part: 0 is the first of `shards`. (templated)
    :param shards: how many parts there are. (templated)
    :param browse_url: where a browser finds `output_path`; the button "Plan" of the task leads there. (templated)
    :param emit_asset: make an asset event for each stream of the plan that is there now (of more than 100, for each of
        their collections), through the AssetAlias among the task's outlets.
    :param spec_conn_id: the Airflow connection of the specification's object storage. (templated)
    :param output_conn_id: the Airflow connection of the object storage of `output_path`. (templated)
    :param btrdb_conn_id: the Airflow connection. (templated)
    :return: :class:`ProvisionResult`
    """

    template_fields: Sequence[str] = BTrDBPlanOperator.template_fields
    template_fields_renderers: ClassVar[dict[str, str]] = BTrDBPlanOperator.template_fields_renderers
    operator_extra_links = (PlanPageLink(),)
    ui_color = "#dbe9f4"

    def __init__(
        self,
        *,
        spec: str | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        output_path: str,
        plan_only: bool = False,
        spec_params: Mapping[str, Any] | None = None,
        prefixes: str | Sequence[str] = (),
        defaults: Mapping[str, Any] | None = None,
        namespace: str | None = None,
        prune: bool = False,
        max_destroy: int = 10,
        verify: bool = True,
        shard: int | str | None = None,
        shards: int | str | None = None,
        browse_url: str | None = None,
        emit_asset: bool = False,
        spec_conn_id: str | None = None,
        output_conn_id: str | None = None,
        btrdb_conn_id: str = "btrdb_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.spec = spec
        self.output_path = output_path
        self.plan_only = plan_only
        self.spec_params = spec_params
        self.prefixes = prefixes
        self.defaults = defaults
        self.namespace = namespace
        self.prune = prune
        self.max_destroy = max_destroy
        self.verify = verify
        self.shard = shard
        self.shards = shards
        self.browse_url = browse_url
        self.emit_asset = emit_asset
        self.spec_conn_id = spec_conn_id
        self.output_conn_id = output_conn_id
        self.btrdb_conn_id = btrdb_conn_id

    def execute(self, context: Context) -> ProvisionResult:
        """Plan, and unless told otherwise apply."""
        plan, planned = self._planned(context)
        if self.plan_only:
            return {"plan": planned, "applied": None}
        applied = self._applied(context, plan, planned["path"], planned["sha256"], replans=True)
        return {"plan": planned, "applied": applied}
