"""A retry policy for tasks that call a client or a stream themselves. Needs Airflow 3.3.

Operators, sensors and the hook's own calls need none: their errors tell Airflow already whether a retry has a chance.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_btrdb._airflow import AirflowOptionalProviderFeatureException, Context, worth_a_retry

try:
    from airflow.sdk import RetryDecision, RetryPolicy
except ImportError:
    raise AirflowOptionalProviderFeatureException("retry policies need Airflow 3.3 or newer") from None

if TYPE_CHECKING:
    from airflow_provider_btrdb.client.errors import BTrDBError


class BTrDBRetryPolicy(RetryPolicy):
    """Fail at once for what no retry can mend: a missing stream, a refused key, bad SQL, wrong arguments.

    For `@task(retries=3, retry_policy=BTrDBRetryPolicy())`. The error that ended the task decides, or what it was
    raised from, if that is one of BTrDB's; whatever may pass, and all other errors, are retried as the task says.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Called by Airflow where the task has failed."""
        error = _of_btrdb(exception)
        if error is None or worth_a_retry(error):
            return RetryDecision.default()
        return RetryDecision.fail(f"{type(error).__name__}: a retry cannot mend it")


def _of_btrdb(exception: BaseException) -> BTrDBError | None:
    """The error of BTrDB that is behind an exception."""
    from airflow_provider_btrdb.client.errors import BTrDBError

    behind: BaseException | None = exception
    while behind is not None and not isinstance(behind, BTrDBError):
        behind = behind.__cause__
    return behind
