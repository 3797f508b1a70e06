"""The error tree, its table of numbers, and how a gRPC status or a Status in a reply becomes one of its classes."""

from __future__ import annotations

import copy
import pickle
from typing import Any, ClassVar

import grpc
import pytest

from airflow_provider_btrdb.client import errors
from airflow_provider_btrdb.client.config import ConnectionConfig, TlsConfig
from airflow_provider_btrdb.client.status import error_from_rpc, error_from_stat
from airflow_provider_btrdb.protocol import Code
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SECRET = "k3y-that-nobody-may-see"
CONFIG = ConnectionConfig(endpoint="localhost:4410", api_key=SECRET)
UUID_TEXT = "0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a"

GRPC = grpc.StatusCode


def _tree(cls: type[errors.BTrDBError] = errors.BTrDBError) -> list[type[errors.BTrDBError]]:
    below = [found for child in cls.__subclasses__() for found in _tree(child)]
    return [cls, *below]


ALL = [cls for cls in _tree() if cls.__module__ == errors.__name__]


def _made(cls: type[errors.BTrDBError]) -> errors.BTrDBError:
    own: dict[Any, dict[str, Any]] = {
        errors.InsertInterruptedError: {"stored": 7, "total": 9},
        errors.PartialUpdateError: {"done": ("tags",)},
    }
    error = cls("it broke", method="Insert", endpoint="host:1", uuid=UUID_TEXT, server_code=417, **own.get(cls, {}))
    error.reply_lost = True
    return error


class RpcFailure(grpc.RpcError):
    """What gRPC raises, made by hand."""

    def __init__(self, code: grpc.StatusCode, details: str | None) -> None:
        self._code, self._details = code, details

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details


# ---------------------------------------------------------------- the tree


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("travel", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_errors_travel_with_their_facts(cls: type[errors.BTrDBError], travel: Any) -> None:
    error = _made(cls)
    arrived = travel(error)
    assert type(arrived) is cls
    assert arrived.__dict__ == error.__dict__
    assert arrived.args == error.args == ("it broke",)
    assert str(arrived) == str(error)
    assert (arrived.retryable, arrived.code) == (error.retryable, error.code)
    assert arrived.reply_lost


def test_facts_without_a_value_stay_none() -> None:
    error = pickle.loads(pickle.dumps(errors.BTrDBError("it broke")))
    assert (error.method, error.endpoint, error.uuid, error.server_code) == (None, None, None, None)
    assert not error.reply_lost
    assert str(error) == "it broke"


def test_text_is_the_message_then_the_facts() -> None:
    assert str(_made(errors.ServerError)) == (f"it broke (code 417, call Insert, stream {UUID_TEXT}, at host:1)")
    assert str(errors.ServerError("no stream x", uuid="x", method="Insert")) == "no stream x (call Insert)"


def test_what_python_calls_the_same_is_caught_by_its_python_name() -> None:
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.MissingExtraError, ImportError)
    assert issubclass(errors.DeadlineExceededError, TimeoutError)


def test_retryable_classes() -> None:
    assert {cls.__name__ for cls in ALL if cls.retryable} == {
        "ServerUnavailableError",
        "DeadlineExceededError",
        "StreamInterruptedError",
        "RateLimitedError",
        "ResourceDepletedError",
        "WrongEndpointError",
        "ClusterDegradedError",
        "ConcurrentModificationError",
        "SqlConnectionError",
    }


# ---------------------------------------------------------------- the table of numbers

WITHOUT_A_CLASS = {
    Code.CONTEXT_ERROR,
    Code.INSERT_FAILURE,
    Code.WRONG_ARGUMENTS,
    Code.FAULT_INJECTION_DISABLED,
    Code.JOURNAL_ERROR,
    Code.INVALID_PARAMETER,
    Code.LOCK_FAILED,
    Code.INVARIANT_FAILURE,
}


def test_every_code_has_one_class_or_is_known_to_have_none() -> None:
    with_class = [int(cls.__dict__["code"]) for cls in ALL if cls.__dict__.get("code") is not None]
    assert len(with_class) == len(set(with_class))
    assert {int(cls.code or 0): cls for cls in ALL if cls.__dict__.get("code") is not None} == errors.BY_CODE
    assert set(errors.BY_CODE) == set(Code) - WITHOUT_A_CLASS


def test_one_code_for_two_classes_is_refused() -> None:
    class Root(errors.BTrDBError):
        pass

    class First(Root):
        code: ClassVar[int | None] = 499

    class Below(First):
        """Inherits the number without standing for it."""

    assert errors._by_code(Root) == {499: First}

    class Second(Below):
        code: ClassVar[int | None] = 499

    with pytest.raises(TypeError, match="code 499 is registered for"):
        errors._by_code(Root)


# ---------------------------------------------------------------- a Status inside a reply


@pytest.mark.parametrize("code", sorted(errors.BY_CODE))
def test_a_status_becomes_the_class_of_its_code(code: int) -> None:
    error = error_from_stat(pb.Status(code=code, msg="no"), "Create", CONFIG, UUID_TEXT)
    assert type(error) is errors.BY_CODE[code]
    assert (error.message, error.method, error.endpoint) == ("no", "Create", "localhost:4410")
    assert (error.uuid, error.server_code, error.reply_lost) == (UUID_TEXT, code, False)


@pytest.mark.parametrize("code", [1, 399, 406, 499, 500, 999_999])
def test_a_status_of_no_class_is_a_server_error(code: int) -> None:
    error = error_from_stat(pb.Status(code=code, msg="[404] stream does not exist"), "Create", CONFIG, None)
    assert type(error) is errors.ServerError
    assert error.server_code == code


def test_a_status_without_text_still_says_something() -> None:
    assert (
        error_from_stat(pb.Status(code=423), "SetStreamTags", CONFIG, None).message
        == "the server refused SetStreamTags"
    )


# ---------------------------------------------------------------- a gRPC status

OF_GRPC = {
    GRPC.UNAVAILABLE: errors.ServerUnavailableError,
    GRPC.CANCELLED: errors.ServerUnavailableError,
    GRPC.DEADLINE_EXCEEDED: errors.DeadlineExceededError,
    GRPC.UNAUTHENTICATED: errors.AuthenticationError,
    GRPC.PERMISSION_DENIED: errors.PermissionDeniedError,
    GRPC.RESOURCE_EXHAUSTED: errors.RateLimitedError,
    GRPC.UNIMPLEMENTED: errors.NotSupportedError,
}
LOSING = {GRPC.UNAVAILABLE, GRPC.DEADLINE_EXCEEDED, GRPC.CANCELLED, GRPC.INTERNAL, GRPC.UNKNOWN, GRPC.ABORTED}


@pytest.mark.parametrize("code", [code for code in GRPC if code is not GRPC.OK], ids=lambda code: code.name)
def test_a_grpc_status_becomes_its_class(code: grpc.StatusCode) -> None:
    error = error_from_rpc(RpcFailure(code, "because"), "Create", CONFIG, UUID_TEXT)
    assert type(error) is OF_GRPC.get(code, errors.ServerError)
    assert (error.method, error.endpoint, error.uuid) == ("Create", "localhost:4410", UUID_TEXT)
    assert error.server_code is None
    assert error.reply_lost is (code in LOSING)
    assert "because" in error.message or code is GRPC.DEADLINE_EXCEEDED


@pytest.mark.parametrize("code", [GRPC.UNKNOWN, GRPC.NOT_FOUND, GRPC.INTERNAL], ids=lambda code: code.name)
def test_the_fixed_text_of_an_unknown_stream_is_404_whatever_the_status(code: grpc.StatusCode) -> None:
    error = error_from_rpc(RpcFailure(code, "[404] stream does not exist"), "StreamInfo", CONFIG, UUID_TEXT)
    assert type(error) is errors.StreamNotFoundError
    assert error.server_code == 404
    assert not error.reply_lost


@pytest.mark.parametrize(
    "details", ["[404] stream does not exist!", "404", "stream does not exist", "x [404] stream does not exist"]
)
def test_nothing_else_that_looks_like_404_is(details: str) -> None:
    error = error_from_rpc(RpcFailure(GRPC.UNKNOWN, details), "StreamInfo", CONFIG, UUID_TEXT)
    assert type(error) is errors.ServerError


def test_a_message_over_its_limit_is_not_a_busy_server() -> None:
    details = "CLIENT: Received message larger than max (99 vs. 64)"
    error = error_from_rpc(RpcFailure(GRPC.RESOURCE_EXHAUSTED, details), "RawValues", CONFIG, None)
    assert type(error) is errors.MessageTooLargeError
    assert "max_message_bytes, 64 MiB" in error.message
    elsewhere = error_from_rpc(RpcFailure(GRPC.INTERNAL, details), "RawValues", CONFIG, None)
    assert type(elsewhere) is errors.ServerError


@pytest.mark.parametrize(
    ("config", "code", "sentence"),
    [
        (CONFIG, GRPC.UNAVAILABLE, "cannot reach BTrDB at localhost:4410 without TLS"),
        (ConnectionConfig(endpoint="h:1", tls=TlsConfig()), GRPC.UNAVAILABLE, "is its certificate trusted"),
        (CONFIG, GRPC.UNAUTHENTICATED, "the API key was refused"),
        (ConnectionConfig(endpoint="h:1"), GRPC.UNAUTHENTICATED, "wants an API key and none is configured"),
        (CONFIG, GRPC.DEADLINE_EXCEEDED, "did not answer in time"),
        (CONFIG, GRPC.UNIMPLEMENTED, "the server does not offer this call"),
        (CONFIG, GRPC.PERMISSION_DENIED, "permission denied"),
        (CONFIG, GRPC.INTERNAL, "INTERNAL"),
    ],
)
def test_sentences_say_what_to_look_at(config: ConnectionConfig, code: grpc.StatusCode, sentence: str) -> None:
    for details in (None, ""):
        assert sentence in str(error_from_rpc(RpcFailure(code, details), "Info", config, None))


@pytest.mark.parametrize("code", [code for code in GRPC if code is not GRPC.OK], ids=lambda code: code.name)
def test_no_error_carries_the_key(code: grpc.StatusCode) -> None:
    for details in ("invalid api key", "", "message larger than max", "[404] stream does not exist"):
        error = error_from_rpc(RpcFailure(code, details), "Info", CONFIG, UUID_TEXT)
        assert SECRET not in f"{error} {error!r} {error.__dict__} {pickle.dumps(error)!r}"
    for number in (*errors.BY_CODE, 1):
        error = error_from_stat(pb.Status(code=number, msg="x"), "Info", CONFIG, UUID_TEXT)
        assert SECRET not in f"{error} {error!r} {error.__dict__} {pickle.dumps(error)!r}"


@pytest.mark.parametrize(
    ("endpoint", "proxy", "environment", "words"),
    [
        ("h:1", "http://me:pass@proxy:3128/", {}, "without TLS, through the proxy proxy:3128 (does it listen"),
        ("h:1", "http://proxy:3128", {"http_proxy": "http://other:1"}, ", through the proxy proxy:3128 (does"),
        ("h:1", "environment", {"http_proxy": "http://me:pass@p:1"}, "the proxy p:1 of http_proxy unless no_proxy"),
        ("h:1", "environment", {"http_proxy": "http://p:1", "https_proxy": "q:2"}, "the proxy q:2 of https_proxy"),
        ("h:1", "environment", {"grpc_proxy": "http://p:1", "https_proxy": "q:2"}, "the proxy p:1 of grpc_proxy"),
        ("h:1", "environment", {}, "without TLS (does it listen"),
        ("h:1", "off", {"http_proxy": "http://p:1"}, "without TLS (does it listen"),
        ("localhost:1,[::1]:2", "environment", {"http_proxy": "http://p:1"}, "without TLS (does it listen"),
        ("127.0.0.1:1", "http://proxy:3128", {}, "without TLS (does it listen"),
    ],
)
def test_the_proxy_on_the_way_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, proxy: str, environment: dict[str, str], words: str
) -> None:
    for name in ("grpc_proxy", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = ConnectionConfig(endpoint=endpoint, proxy=proxy)
    sentence = str(error_from_rpc(RpcFailure(GRPC.UNAVAILABLE, "gone"), "Info", config, None))
    assert words in sentence
    assert "pass" not in sentence
