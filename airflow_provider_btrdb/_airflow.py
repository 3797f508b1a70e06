"""The one place that knows Airflow versions, and turns our errors into Airflow's.

Imported while DAG files are parsed, so it imports no client, gRPC or numpy at the top.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.providers.common.compat.sdk import (
    AirflowException,
    AirflowFailException,
    AirflowNotFoundException,
    AirflowOptionalProviderFeatureException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    Asset,
    AssetAlias,
    BaseHook,
    BaseOperator,
    BaseOperatorLink,
    BaseSensorOperator,
    Connection,
    Context,
    PokeReturnValue,
    conf,
)

if TYPE_CHECKING:
    from airflow_provider_btrdb.client.errors import BTrDBError

__all__ = [
    "AirflowException",
    "AirflowFailException",
    "AirflowNotFoundException",
    "AirflowOptionalProviderFeatureException",
    "AirflowSensorTimeout",
    "AirflowSkipException",
    "AirflowTaskTimeout",
    "Asset",
    "AssetAlias",
    "BTrDBTransientException",
    "BaseHook",
    "BaseOperator",
    "BaseOperatorLink",
    "BaseSensorOperator",
    "Connection",
    "Context",
    "PokeReturnValue",
    "airflow_errors",
    "async_mask_secrets",
    "conf",
    "default_deferrable",
    "failure",
    "mask_secrets",
    "worth_a_retry",
]


class BTrDBTransientException(AirflowException):
    """The task failed for a reason that may pass: the server away, too slow, too busy. Retries apply."""


def failure(message: str, *, retryable: bool) -> AirflowException:
    """The exception that makes Airflow retry the task, or fail it at once: retries do not bring a missing stream."""
    return BTrDBTransientException(message) if retryable else AirflowFailException(message)


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Errors of BTrDB inside the block become Airflow's, with the original as their cause."""
    from airflow_provider_btrdb.client.errors import BTrDBError

    try:
        yield
    except BTrDBError as error:
        raise failure(str(error), retryable=worth_a_retry(error)) from error


def worth_a_retry(error: BTrDBError) -> bool:
    """May the task succeed when it is run again?

    Also where nobody knows why the call failed, as behind a proxy, and where the task was killed during the call.
    """
    from airflow_provider_btrdb.client.errors import ClientUnusableError, ServerError

    unexplained = isinstance(error, ServerError) and error.server_code is None
    return error.retryable or unexplained or isinstance(error, ClientUnusableError)


def default_deferrable() -> bool:
    """What `[operators] default_deferrable` says."""
    return bool(conf.getboolean("operators", "default_deferrable", fallback=False))


def mask_secrets(secrets: Iterable[str]) -> None:
    """Have Airflow show *** for these in every log."""
    from airflow.providers.common.compat.sdk import mask_secret

    for secret in secrets:
        mask_secret(secret)


async def async_mask_secrets(secrets: Iterable[str]) -> None:
    """`mask_secrets` on an event loop: in a triggerer a blocking message to its supervisor could never return."""
    await asyncio.to_thread(mask_secrets, list(secrets))
