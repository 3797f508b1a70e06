"""Asset URIs: `btrdb://host:port/UUID` is a stream, `btrdb://host:port/collection/PATH` a collection.

A stream's identity is its uuid, since names and collections may change. Airflow finds these functions by the scheme.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, quote, unquote, urlsplit
from uuid import UUID

from airflow_provider_btrdb._airflow import Asset

if TYPE_CHECKING:
    from airflow.providers.common.compat.openlineage.facet import Dataset as OpenLineageDataset

SCHEME = "btrdb"
DEFAULT_PORT = 4411
COLLECTION = "collection"


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """The one spelling of a URI: host and uuid in lower case, the port always there. Raises ValueError."""
    if not uri.hostname:
        raise ValueError("a btrdb URI must name a host: btrdb://host:port/uuid")
    if uri.query or uri.fragment:
        raise ValueError("a btrdb URI has neither a query nor a fragment: btrdb://host:port/uuid")
    host = f"[{uri.hostname}]" if ":" in uri.hostname else uri.hostname
    first, _, rest = uri.path.strip("/").partition("/")
    if first == COLLECTION and rest:
        path = f"{COLLECTION}/{_quoted(unquote(rest))}"
    else:
        try:
            path = str(UUID(first if not rest else ""))
        except ValueError:
            raise ValueError(
                "the path of a btrdb URI is the uuid of a stream, or collection/ and the path of a collection"
            ) from None
    return uri._replace(netloc=f"{host}:{uri.port or DEFAULT_PORT}", path=f"/{path}")


def create_asset(
    *,
    host: str,
    port: int = DEFAULT_PORT,
    uuid: UUID | str | None = None,
    collection: str | None = None,
    extra: dict[str, Any] | None = None,
) -> Asset:
    """The asset of a stream or of a collection. Raises ValueError unless exactly one of the two is given."""
    if (uuid is None) == (collection is None):
        raise ValueError("give either uuid or collection")
    path = f"{COLLECTION}/{_quoted(collection)}" if collection is not None else str(uuid)
    uri = sanitize_uri(SplitResult(SCHEME, f"{host}:{port}", f"/{path}", "", ""))
    return Asset(uri=uri.geturl(), extra=extra or {})


def collection_uri(endpoint: str, collection: str) -> str:
    """The URI of a collection; `endpoint` is `host:port`."""
    return f"{SCHEME}://{endpoint}/{COLLECTION}/{_quoted(collection)}"


def convert_asset_to_openlineage(asset: Asset, lineage_context: Any) -> OpenLineageDataset:
    """The dataset of an asset: namespace `btrdb://host:port`, name the uuid or the collection."""
    from airflow.providers.common.compat.openlineage.facet import Dataset

    uri = urlsplit(asset.uri)
    return Dataset(namespace=namespace(uri.netloc), name=unquote(uri.path.strip("/").removeprefix(f"{COLLECTION}/")))


def namespace(endpoint: str) -> str:
    """OpenLineage's name for a server; `endpoint` is `host:port`."""
    return f"{SCHEME}://{endpoint}"


def _quoted(collection: str) -> str:
    """Slashes stay readable, except where Airflow would drop them from the end of a URI."""
    plain = collection == collection.strip("/") and "//" not in collection
    return quote(collection, safe="/" if plain else "")
