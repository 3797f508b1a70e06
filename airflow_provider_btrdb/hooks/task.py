"""What every task that talks to BTrDB has: a connection id, a hook made when the task runs, a label, an end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

KILL_SECONDS = 5.0
"""How long a killed task waits for its calls to end."""

_log = logging.getLogger(__name__)


class HasBTrDBHook:
    """Mixed into operators and sensors; parsing a DAG file never imports the hook's module."""

    btrdb_conn_id: str

    @cached_property
    def hook(self) -> BTrDBHook:
        """The hook for `btrdb_conn_id`."""
        from airflow_provider_btrdb.hooks.btrdb import BTrDBHook

        return BTrDBHook(self.btrdb_conn_id)

    def on_kill(self) -> None:
        """End the calls under way. Quick, and never raises: Airflow calls it while the task is being ended."""
        if "hook" not in self.__dict__:  # no call was ever made
            return

        def end() -> None:
            from airflow_provider_btrdb.hooks.btrdb import end_calls

            try:
                end_calls()
            except Exception:
                _log.exception("ending the calls to BTrDB failed")

        # On a thread, because a signal may have interrupted this one while it holds a lock that closing needs.
        thread = threading.Thread(target=end, name="btrdb-on-kill", daemon=True)
        thread.start()
        thread.join(KILL_SECONDS)


def set_label(context: Any, streams: Iterable[Any]) -> None:
    """Name a mapped task's instance: `map_index_template="{{ stream_label }}"` shows it."""
    names = [str(stream) for stream in streams]
    if names:
        context["stream_label"] = names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")
