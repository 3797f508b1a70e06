"""Loads the generated messages and the client's half that needs no Airflow, under the protobuf runtime at hand."""

import importlib
import pkgutil
import sys
from pathlib import Path

import google.protobuf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from airflow_provider_btrdb import client, protocol
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

modules = [found.name for found in pkgutil.walk_packages(client.__path__, client.__name__ + ".")]
for module in modules:
    importlib.import_module(module)

sent = pb.RawPoint(time=protocol.MIN_TIME_NS, value=0.1)
received = pb.RawPoint.FromString(sent.SerializeToString())
assert (received.time, received.value) == (protocol.MIN_TIME_NS, 0.1)
assert "airflow" not in sys.modules
print(f"protobuf {google.protobuf.__version__}: {len(modules)} modules of the client load, a message keeps its values")
