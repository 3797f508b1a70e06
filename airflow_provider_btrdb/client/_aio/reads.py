"""The one loop of all reads that can go on where they broke off."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from airflow_provider_btrdb.client._aio.calls import AsyncCalls
from airflow_provider_btrdb.client.cursor import Cursor
from airflow_provider_btrdb.client.errors import BTrDBError
from airflow_provider_btrdb.client.pages import T
from airflow_provider_btrdb.client.policy import Budget, may_repeat
from airflow_provider_btrdb.client.rpcs import Rpc
from airflow_provider_btrdb.client.status import error_from_stat


async def resumed(calls: AsyncCalls, rpc: Rpc, cursor: Cursor[T]) -> AsyncGenerator[T, None]:
    """Pages of columns, none empty, all at one version: no gap and nothing twice, however often the read breaks off.

    The budget is for the time without progress: it starts anew with every page.
    """
    budget = Budget(calls.config.retry_total)
    broken: BTrDBError | None = None
    while True:
        stream = await calls.open(rpc, cursor.request(), budget, uuid=cursor.uuid, after=broken)
        try:
            while stream.page is not None:
                page = cursor.decode(stream.page)
                if page.stat is not None and page.stat.code:
                    raise error_from_stat(page.stat, rpc.name, calls.config, cursor.uuid)
                columns = cursor.accept(page)
                if len(columns):
                    yield columns
                    budget.renew()
                    if cursor.complete:
                        return
                await stream.advance()
            return
        except BTrDBError as error:
            if not may_repeat(error, rpc.repeat):
                raise
            broken = error
        finally:
            stream.cancel()
