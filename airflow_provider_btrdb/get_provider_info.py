"""What Airflow asks of a provider before it loads anything of it: modules, the connection type and its form.

Airflow calls this while it is still importing itself, so this module imports nothing. `CONNECTION_FORM` is the one
description of the form: Airflow from 3.2 on reads it here, older versions through the hook's class methods.
Where Airflow takes a field's name for a secret's, as `proxy` or any with `api_key` in it, there is no default: Airflow
would show and save three asterisks instead.
"""

_INTEGRATION = "BTrDB"

CONNECTION_FORM = {
    "ui-field-behaviour": {
        "hidden-fields": ["schema", "login"],
        "relabeling": {"password": "API key"},
        "placeholders": {
            "host": "btrdb.example.com",
            "port": "4411",
            "ca_bundle": "/etc/ssl/certs/ca-certificates.crt",
            "authority": "btrdb.example.com",
            "proxy": "http://proxy.example.com:3128",
        },
    },
    "conn-fields": {
        "tls": {
            "label": "TLS",
            "description": "Encrypt the connection. auto: encrypted, unless the host is this machine.",
            "schema": {"type": "string", "enum": ["auto", "on", "off"], "default": "auto"},
        },
        "ca_bundle": {
            "label": "CA bundle",
            "description": "Path of a PEM file with the certificates to trust; empty: those of the system.",
            "schema": {"type": ["string", "null"]},
        },
        "client_cert": {
            "label": "Client certificate",
            "description": "Path of a PEM file, for servers that ask for one. Goes together with the client key.",
            "schema": {"type": ["string", "null"]},
        },
        "client_key": {
            "label": "Client key",
            "description": "Path of a PEM file. Goes together with the client certificate.",
            "schema": {"type": ["string", "null"]},
        },
        "authority": {
            "label": "Name in the server's certificate",
            "description": "Where it is not the host's name, as behind a tunnel.",
            "schema": {"type": ["string", "null"]},
        },
        "proxy": {
            "label": "HTTP proxy",
            "description": "off, or the URL of a proxy; empty: what http_proxy and no_proxy say.",
            "schema": {"type": ["string", "null"]},
        },
        "connect_timeout": {
            "label": "Connect timeout (s)",
            "description": "For the first call, which shows whether the server is there.",
            "schema": {"type": "number", "default": 10, "minimum": 0},
        },
        "request_timeout": {
            "label": "Request timeout (s)",
            "description": "For one attempt of a call that returns one reply.",
            "schema": {"type": "number", "default": 30, "minimum": 0},
        },
        "retry_total": {
            "label": "Retry budget (s)",
            "description": "For one operation with all its attempts and pauses; 0 never repeats.",
            "schema": {"type": "number", "default": 120, "minimum": 0},
        },
        "max_in_flight": {
            "label": "Calls in flight",
            "description": "Calls under way at once.",
            "schema": {"type": "integer", "default": 64, "minimum": 1},
        },
        "max_rps": {
            "label": "Calls per second",
            "description": "Start no more calls per second than this; empty: no limit.",
            "schema": {"type": ["number", "null"], "minimum": 0},
        },
        "max_message_mb": {
            "label": "Largest reply (MiB)",
            "description": "A larger reply is refused.",
            "schema": {"type": "integer", "default": 64, "minimum": 1},
        },
        "insecure_key": {
            "label": "API key without TLS",
            "description": "Send the API key in clear text to a host that is not this machine.",
            "schema": {"type": "boolean", "default": False},
        },
    },
}

SETTINGS = {
    "description": "Pages of audits inside Airflow.",
    "options": {
        "audit_page": {
            "description": "Show the pages of audits in Airflow's menu, below Browse. Needs Airflow 3.1.",
            "version_added": "0.1.0",
            "type": "boolean",
            "default": "False",
            "example": None,
        },
        "audit_path": {
            "description": "The folder or URL with the runs to show: the `output_path` of `BTrDBAuditOperator`.",
            "version_added": "0.1.0",
            "type": "string",
            "default": "",
            "example": "s3://lake/audits",
        },
        "audit_conn_id": {
            "description": "The Airflow connection of the object storage of that folder.",
            "version_added": "0.1.0",
            "type": "string",
            "default": "",
            "example": "aws_default",
        },
    },
}


def get_provider_info() -> dict[str, object]:
    """The provider's description, in the shape of Airflow's `provider_info.schema.json`."""
    package = "airflow_provider_btrdb"
    uris = {
        "schemes": ["btrdb"],
        "handler": f"{package}.assets.streams.sanitize_uri",
        "factory": f"{package}.assets.streams.create_asset",
        "to_openlineage_converter": f"{package}.assets.streams.convert_asset_to_openlineage",
    }
    return {
        "package-name": "airflow-provider-btrdb",
        "name": "BTrDB",
        "description": "`BTrDB <https://btrdb.io>`__ time series: provision, query, audit, wait for and load streams.",
        "versions": ["0.1.0"],
        "integrations": [
            {"integration-name": _INTEGRATION, "external-doc-url": "https://btrdb.readthedocs.io", "tags": ["service"]}
        ],
        "operators": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    f"{package}.operators.{name}"
                    for name in ("connection", "streams", "provision", "query", "points", "audit")
                ],
            }
        ],
        "sensors": [{"integration-name": _INTEGRATION, "python-modules": [f"{package}.sensors.streams"]}],
        "hooks": [{"integration-name": _INTEGRATION, "python-modules": [f"{package}.hooks.btrdb"]}],
        "triggers": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [f"{package}.triggers.{name}" for name in ("streams", "events")],
            }
        ],
        "notifications": [f"{package}.notifications.audit.BTrDBAuditNotifier"],
        "extra-links": [f"{package}.operators.provision.PlanPageLink", f"{package}.operators.audit.AuditPageLink"],
        "plugins": [{"name": "btrdb_audits", "plugin-class": f"{package}.plugins.audits.BTrDBAuditsPlugin"}],
        "config": {"btrdb": SETTINGS},
        "queues": [f"{package}.queues.btrdb.BTrDBMessageQueueProvider"],
        "asset-uris": [uris],
        "dataset-uris": [uris],  # the name that Airflow 2 knows
        "connection-types": [
            {
                "connection-type": "btrdb",
                "hook-class-name": f"{package}.hooks.btrdb.BTrDBHook",
                "hook-name": "BTrDB",
                **CONNECTION_FORM,
            }
        ],
    }
