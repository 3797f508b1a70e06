"""Who may do what: API keys, permissions on collection prefixes, TLS."""

from __future__ import annotations

import datetime
import uuid

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from airflow_provider_btrdb.devserver import arrow, merge
from airflow_provider_btrdb.devserver.errors import DevServerError
from airflow_provider_btrdb.protocol import METHODS, Kind
from airflow_provider_btrdb.testing import devserver
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

KEYS = """
[keys.admin]
key = "admin-key"
read = [""]
insert = [""]
delete = [""]
obliterate = [""]

[keys.north]
key = "north-key"
read = ["north/", "shared"]
insert = ["north/"]

[public]
read = ["open/"]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    path.write_text(KEYS)
    with devserver(keys=path) as running:
        yield running


@pytest.fixture(scope="module")
def clients(server):
    with (
        WireClient(server.endpoint, api_key="admin-key") as admin,
        WireClient(server.endpoint, api_key="north-key") as north,
        WireClient(server.endpoint) as public,
    ):
        yield {"admin": admin, "north": north, "public": public}


@pytest.fixture(scope="module")
def streams(clients):
    made = {}
    for collection in ("north/1", "shared/1", "open/1", "south/1"):
        made[collection] = uuid.uuid4().bytes
        clients["admin"].call("Create", pb.CreateParams(uuid=made[collection], collection=collection))
    return made


def denied(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    return caught.value.details()


def readable(client):
    (page,) = client.call("ListCollections", pb.ListCollectionsParams())
    (found,) = client.call("LookupStreams", pb.LookupStreamsParams(is_collection_prefix=True))
    assert [d.collection for d in found.results] == list(page.collections)
    return list(page.collections)


def test_listings_show_what_may_be_read(clients, streams):
    assert readable(clients["admin"]) == sorted(streams)
    assert readable(clients["north"]) == ["north/1", "shared/1"]
    assert readable(clients["public"]) == ["open/1"]


NO_POINTS = arrow.page(arrow.RAW_SCHEMA, [merge.NO_POINTS.t, merge.NO_POINTS.v])
READS = {
    "StreamInfo": lambda raw: pb.StreamInfoParams(uuid=raw),
    "RawValues": lambda raw: pb.RawValuesParams(uuid=raw, start=0, end=1),
    "ArrowRawValues": lambda raw: pb.ArrowRawValuesParams(uuid=raw, start=0, end=1),
    "ArrowMultiValues": lambda raw: pb.ArrowMultiValuesParams(uuids=[raw], start=0, end=1),
    "Windows": lambda raw: pb.WindowsParams(uuid=raw, start=0, end=1, width=1),
    "ArrowWindows": lambda raw: pb.WindowsParams(uuid=raw, start=0, end=1, width=1),
    "AlignedWindows": lambda raw: pb.AlignedWindowsParams(uuid=raw, start=0, end=1),
    "ArrowAlignedWindows": lambda raw: pb.AlignedWindowsParams(uuid=raw, start=0, end=1),
    "Nearest": lambda raw: pb.NearestParams(uuid=raw),
    "Changes": lambda raw: pb.ChangesParams(uuid=raw),
    "GenerateCSV": lambda raw: pb.GenerateCSVParams(
        query_type=pb.GenerateCSVParams.RAW_QUERY, end_time=1, streams=[pb.StreamCSVConfig(uuid=raw)]
    ),
}
WRITES = {
    "Insert": ("insert", lambda raw: pb.InsertParams(uuid=raw, values=[pb.RawPoint(time=1)])),
    "ArrowInsert": ("insert", lambda raw: pb.ArrowInsertParams(uuid=raw, arrow_bytes=NO_POINTS)),
    "Flush": ("insert", lambda raw: pb.FlushParams(uuid=raw)),
    "SetStreamTags": ("insert", lambda raw: pb.SetStreamTagsParams(uuid=raw)),
    "SetStreamAnnotations": ("insert", lambda raw: pb.SetStreamAnnotationsParams(uuid=raw)),
    "Delete": ("delete", lambda raw: pb.DeleteParams(uuid=raw, start=0, end=1)),
    "Obliterate": ("obliterate", lambda raw: pb.ObliterateParams(uuid=raw)),
}


@pytest.mark.parametrize("method", READS)
def test_reads_need_read(clients, streams, method):
    clients["north"].call(method, READS[method](streams["shared/1"]))
    details = denied(lambda: clients["north"].call(method, READS[method](streams["south/1"])))
    assert details == 'user does not have permission "read" on "south/1"'


@pytest.mark.parametrize("method", WRITES)
def test_writes_need_their_own_permission(clients, streams, method):
    permission, request = WRITES[method]
    assert denied(lambda: clients["north"].call(method, request(streams["shared/1"]))) == (
        f'user does not have permission "{permission}" on "shared/1"'
    )
    assert denied(lambda: clients["public"].call(method, request(streams["open/1"]))).endswith('on "open/1"')
    if permission == "insert":
        assert not clients["north"].call(method, request(streams["north/1"])).HasField("stat")


def test_create_and_move_need_insert_on_both_sides(clients, streams):
    request = pb.CreateParams(uuid=uuid.uuid4().bytes, collection="south/x")
    assert denied(lambda: clients["north"].call("Create", request)).endswith('on "south/x"')
    move = pb.SetStreamTagsParams(uuid=streams["north/1"], collection="south/y")
    assert denied(lambda: clients["north"].call("SetStreamTags", move)).endswith('on "south/y"')


def test_subscribe_needs_read(clients, streams):
    def follow(collection):
        update = pb.SubscriptionUpdate(op=pb.ADD_UUIDS, uuids=[streams[collection]])
        return list(clients["north"].start("Subscribe", iter([update]), timeout=60))

    assert denied(lambda: follow("south/1")).endswith('on "south/1"')


def test_sql_needs_read_on_everything(clients):
    query = pb.SQLQueryParams(query="select 1")
    assert len(clients["admin"].call("SQLQuery", query)) == 1
    assert denied(lambda: clients["north"].call("SQLQuery", query)) == 'user does not have permission "read" on ""'


def test_usage_counts_what_may_be_read(clients, streams):
    for collection in ("north/1", "south/1"):
        change = pb.KeyOptValue(key="k", val=pb.OptValue(value="v"))
        clients["admin"].call(
            "SetStreamAnnotations", pb.SetStreamAnnotationsParams(uuid=streams[collection], changes=[change])
        )
    assert clients["admin"].call("GetMetadataUsage").annotations[0].count == 2
    assert clients["north"].call("GetMetadataUsage").annotations[0].count == 1
    assert list(clients["public"].call("GetMetadataUsage").annotations) == []


def unauthenticated(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert caught.value.details() == "invalid api key"


@pytest.mark.parametrize("method", METHODS)
def test_a_wrong_key_opens_nothing(server, method):
    request = METHODS[method].request()
    with WireClient(server.endpoint, api_key="wrong") as wire:
        unauthenticated(
            lambda: (
                list(wire.start(method, iter([request])))
                if METHODS[method].kind is Kind.BIDI_STREAM
                else wire.call(method, request)
            )
        )


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Basic admin-key", "admin-key", "Bearer  admin-key", ""])
def test_a_malformed_authorization_opens_nothing(server, value):
    with grpc.insecure_channel(server.endpoint) as channel:
        call = channel.unary_unary(METHODS["Info"].path)
        unauthenticated(lambda: call(b"", metadata=[("authorization", value)], timeout=60))


def test_the_scheme_is_not_case_sensitive(server):
    with grpc.insecure_channel(server.endpoint) as channel:
        call = channel.unary_unary(METHODS["Info"].path)
        assert call(b"", metadata=[("authorization", "bearer admin-key")], timeout=60)


def test_reflection_needs_a_key_and_health_does_not():
    with devserver(api_key="sesame") as server, grpc.insecure_channel(server.endpoint) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=60).status == 1
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        ask = [reflection_pb2.ServerReflectionRequest(list_services="")]
        unauthenticated(lambda: list(reflection.ServerReflectionInfo(iter(ask), timeout=60)))
        known = (("authorization", "Bearer sesame"),)
        assert len(list(reflection.ServerReflectionInfo(iter(ask), metadata=known, timeout=60))) == 1
        with WireClient(server.endpoint) as nobody:
            unauthenticated(lambda: nobody.call("Info"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no key"),
        ("[keys.a]\nread = ['']", "needs a key"),
        ("[keys.a]\nkey = 5", "needs a key"),
        ("[keys.a]\nkey = 'k'\nwrite = ['']", "unknown permission 'write'"),
        ("[keys.a]\nkey = 'k'\nread = 'x'", "list of collection prefixes"),
        ("[keys.a]\nkey = 'a b'", "printable ASCII"),
        ("[keys.a]\nkey = 'k'\n[keys.b]\nkey = 'k'", "repeats the key"),
        ("[other]", "unknown table 'other'"),
        ("keys = 3", "not a table"),
        ("not toml", "not valid TOML"),
    ],
)
def test_a_bad_keys_file_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(DevServerError, match=sentence) as caught, devserver(keys=path):
        pass
    assert "\n" not in str(caught.value)


# ---------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = directory / "cert.pem", directory / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def test_tls_with_a_key(certificate):
    with devserver(tls=certificate, api_key="sesame") as server:
        endpoint = f"localhost:{server.port}"
        root = certificate[0].read_bytes()
        with WireClient(endpoint, api_key="sesame", root_certificate=root) as wire:
            assert wire.call("Info").major_version == 5
        with WireClient(endpoint, api_key="wrong", root_certificate=root) as wire:
            unauthenticated(lambda: wire.call("Info"))
        with WireClient(endpoint, api_key="sesame", timeout=5) as plain, pytest.raises(grpc.RpcError) as caught:
            plain.call("Info")
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


def test_a_bad_certificate_is_one_sentence(certificate, tmp_path):
    other = tmp_path / "other.pem"
    other.write_bytes(b"nonsense")
    for pair, sentence in [
        ((other, certificate[1]), "not a PEM certificate"),
        ((certificate[0], other), "not a PEM certificate"),
        ((tmp_path / "missing.pem", certificate[1]), "cannot read"),
    ]:
        with pytest.raises(DevServerError, match=sentence), devserver(tls=pair):
            pass
