"""What Airflow's lineage is told of calls on streams: the collections, not each of what may be thousands of streams."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from airflow_provider_btrdb.assets.streams import collection_uri

log = logging.getLogger(__name__)

MOST = 20
"""Collections told one by one, of each direction. Airflow keeps 100 assets for a whole task."""


def report(hook: Any, endpoint: str, *, inputs: Iterable[str] = (), outputs: Iterable[str] = ()) -> None:
    """Tell which collections were read and written. Where that fails the call goes on: lineage is no reason to stop."""
    try:
        from airflow.providers.common.compat.lineage.hook import get_hook_lineage_collector

        collector = get_hook_lineage_collector()
        directions = (("inputs", collector.add_input_asset, inputs), ("outputs", collector.add_output_asset, outputs))
        for name, add, collections in directions:
            distinct = sorted(set(collections))
            for collection in distinct[:MOST]:
                add(context=hook, uri=collection_uri(endpoint, collection))
            if len(distinct) > MOST:
                collector.add_extra(context=hook, key=f"btrdb_{name}", value={"collections": len(distinct)})
    except Exception:
        log.warning("telling Airflow's lineage failed", exc_info=True)
