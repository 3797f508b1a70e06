"""Where `connect()` without arguments finds a server: environment variables and the credentials file of BTrDB users.

`BTRDB_ENDPOINTS` and `BTRDB_API_KEY` count first; what they leave open comes from the profile `BTRDB_PROFILE`
(default: "default") of `~/.predictivegrid/credentials.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig, endpoints_of, is_loopback, split_endpoint
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.client.models import needed

CREDENTIALS = "~/.predictivegrid/credentials.yaml"


def config_from_environment(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> ConnectionConfig:
    """The configuration for `connect()`: encrypted, unless the server is on this machine. Raises InputError."""
    profile = _profile(environ)
    endpoint = environ.get("BTRDB_ENDPOINTS") or profile.get("endpoints")
    if not endpoint:
        raise InputError(
            "no BTrDB server is named: give connect() an endpoint, set BTRDB_ENDPOINTS, or write the profile "
            f"{environ.get('BTRDB_PROFILE') or 'default'!r} into {CREDENTIALS}"
        )
    local = all(is_loopback(split_endpoint(one)[0]) for one in endpoints_of(str(endpoint)))
    given: dict[str, Any] = {"tls": None if local else TlsConfig(), **options}
    given.setdefault("api_key", environ.get("BTRDB_API_KEY") or profile.get("api_key"))
    return ConnectionConfig(endpoint=str(endpoint), **given)


def _profile(environ: Mapping[str, str]) -> Mapping[str, Any]:
    """The entry `btrdb` of the profile; empty where there is no file, or no such profile and nobody asked for it."""
    if environ.get("BTRDB_ENDPOINTS") and not environ.get("BTRDB_PROFILE"):
        return {}
    name = environ.get("BTRDB_PROFILE") or "default"
    path = Path(CREDENTIALS).expanduser()
    if not path.exists():
        if environ.get("BTRDB_PROFILE"):
            raise InputError(f"BTRDB_PROFILE is {name!r} and {path} does not exist")
        return {}
    yaml = needed("yaml", "credentials")
    try:
        profiles = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        raise InputError(f"{path} cannot be read as YAML") from None  # its text may hold keys, so none is shown
    if not isinstance(profiles, Mapping) or name not in profiles:
        if environ.get("BTRDB_PROFILE"):
            raise InputError(f"{path} has no profile {name!r}")
        return {}
    entry = profiles[name].get("btrdb") if isinstance(profiles[name], Mapping) else None
    if not isinstance(entry, Mapping):
        raise InputError(f"profile {name!r} of {path} has no section btrdb with endpoints and api_key")
    return entry
