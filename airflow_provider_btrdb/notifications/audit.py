"""Telling people what an audit found, in the words of other notifiers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

# Not through _airflow: in Airflow 3.0 it stands on models that no operator needs.
from airflow.providers.common.compat.sdk import BaseNotifier

from airflow_provider_btrdb._airflow import Context
from airflow_provider_btrdb.operators.audit import BTrDBAuditOperator
from airflow_provider_btrdb.operators.storage import read_if_there, stored, write_file

if TYPE_CHECKING:
    from airflow_provider_btrdb.audit import AuditMessage

Recipient: TypeAlias = "BaseNotifier | Callable[[AuditMessage], object]"


class BTrDBAuditNotifier(BaseNotifier):
    """Tell what changed in an audit since it was told last: checks that fail now, more or less, or no longer.

    For `on_failure_callback` and `on_success_callback` of a `BTrDBAuditOperator`, both, so that what is resolved is
    told too; on other tasks it does nothing. The message has the checks grouped by owner, the first new failures of
    each, and no values of points. Checks that only warn are not told. What was told is kept in a file beside the
    runs; it is written once every recipient has taken the message, so a message that cannot be delivered comes again
    with the next run. An audit that came to no result, as without a connection, is told every time. The result of the
    task must be in XCom, as it is unless `do_xcom_push` is off.

    :param to: who gets the message, one or several: a notifier of another provider, in whose templates `audit` is the
        :class:`~airflow_provider_btrdb.audit.AuditMessage`, as in `{{ audit.text }}`; or a function that takes one.
    :param quiet: after a check was told, do not tell of it again for so long. What changes meanwhile is told
        afterwards, if it is still so.
    """

    def __init__(self, *, to: Recipient | Sequence[Recipient], quiet: timedelta = timedelta(0)) -> None:
        super().__init__()
        self.to = to
        self.quiet = quiet

    def notify(self, context: Context) -> None:
        """See Airflow."""
        task, ti = context["task"], context["ti"]
        if not isinstance(task, BTrDBAuditOperator):
            self.log.warning("%s is no BTrDBAuditOperator: there is nothing to tell", ti.task_id)
            return
        result = ti.xcom_pull(task_ids=ti.task_id, map_indexes=ti.map_index)
        if result is not None:
            self._tell_news(context, result["path"], task.output_conn_id)
        elif context.get("exception") is not None:
            self._tell(context, _no_result(ti, context["exception"]))
        else:
            self.log.warning("%s left no result in XCom: there is nothing to tell", ti.task_id)

    def _tell_news(self, context: Context, path: str, conn_id: str | None) -> None:
        from airflow_provider_btrdb.audit.news import news, told_from
        from airflow_provider_btrdb.audit.storing import load

        place = stored(path, conn_id)
        run = load(place)
        kept = f"{path.rpartition('/')[0]}/told-{_digest(run.suite, run.shard)}.json"
        before = told_from(read_if_there(kept, conn_id))
        message, told = news(run, place, before, self.quiet, path)
        if message is not None:
            self._tell(context, message)
        if told != before:
            write_file(kept, conn_id, told.model_dump_json().encode())

    def _tell(self, context: Any, message: AuditMessage) -> None:
        """Every recipient is tried; the first error is raised afterwards."""
        errors = []
        context["audit"] = message
        for recipient in self.to if isinstance(self.to, Sequence) else [self.to]:
            try:
                if isinstance(recipient, BaseNotifier):
                    _notify(recipient, context)
                else:
                    recipient(message)
            except Exception as error:
                self.log.exception("the message did not reach %r", recipient)
                errors.append(error)
        if errors:
            raise errors[0]


def _notify(recipient: BaseNotifier, context: Any) -> None:
    """Without calling it: Airflow before 3.1 would hide that it failed."""
    one = copy(recipient)  # rendering changes a notifier, and the next message is another one
    one.render_template_fields(context)
    one.notify(context)


def _no_result(ti: Any, exception: Any) -> AuditMessage:
    from airflow_provider_btrdb.audit import AuditMessage
    from airflow_provider_btrdb.catalog.streams import printable

    subject = f"Audit {ti.dag_id}.{ti.task_id}: no result"
    said = "\n".join(map(printable, str(exception).splitlines()))
    return AuditMessage(subject=subject, text=f"{subject} in the run {ti.run_id}.\n\n{said}")


def _digest(suite: str, shard: tuple[int, int] | None) -> str:
    """A name for files: that of a suite may hold anything."""
    return hashlib.blake2b(json.dumps([suite, shard]).encode(), digest_size=8).hexdigest()
