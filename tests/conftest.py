"""Two rules for all tests.

Airflow, in whatever test imports it, keeps its files in a folder of this run and sees no setting of the user's own.

A test may be skipped for one reason only: the machine lacks something. It says `needs ...`, and the run lists it. Any
other skip would be a test that silently does nothing, so it fails. With `--environment NAME` only what
environments.toml lists for that name may be lacking.

And what every test of a client in both modes needs: one loop, and helpers that take what either mode returns; and
axe-core for the tests of pages.
"""

from __future__ import annotations

import asyncio
import atexit
import datetime
import inspect
import ipaddress
import os
import shutil
import tempfile
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest

PREFIX = "needs "

# Here and not in a fixture: Airflow reads them when it is imported, which test modules do at their top.
for _name in [name for name in os.environ if name.startswith("AIRFLOW_")]:
    del os.environ[_name]
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--environment", help="a name in environments.toml, which says what may be lacking")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: builds and installs the package from an index; CI runs it once")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first: one worker has a file to itself, and none should wait for the last of them."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "in_airflow" not in item.path.parts))


def skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str | None:
    """Why the report's test or module was skipped; None when it was not, or when it is an expected failure."""
    if not report.skipped or hasattr(report, "wasxfail"):
        return None
    assert isinstance(report.longrepr, tuple)
    return report.longrepr[2].removeprefix("Skipped: ")


def may_lack(config: pytest.Config) -> list[str] | None:
    """The reasons for a skip that the environment is allowed to have; None: whatever starts with `needs`."""
    name = config.getoption("--environment")
    if name is None:
        return None
    with Path(__file__).with_name("environments.toml").open("rb") as file:
        listed: list[str] = tomllib.load(file)[name]["may_lack"]
    return listed


def refuse_silent_skip(report: pytest.TestReport | pytest.CollectReport, config: pytest.Config) -> None:
    reason, allowed = skip_reason(report), may_lack(config)
    if reason is None:
        return
    if not reason.startswith(PREFIX):
        report.outcome = "failed"
        report.longrepr = f"skipped with the reason {reason!r}: a skip names the missing capability, as 'needs ...'"
    elif allowed is not None and reason not in allowed:
        report.outcome = "failed"
        report.longrepr = f"skipped with the reason {reason!r}, not listed in environments.toml for this environment"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_silent_skip(report, item.config)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_silent_skip(report, collector.config)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    missing = Counter(skip_reason(report) for report in terminalreporter.stats.get("skipped", []))
    if missing:
        terminalreporter.section("capabilities missing")
        for reason, count in sorted(missing.items()):
            terminalreporter.line(f"{count} skipped: {reason}")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
async def one_loop(anyio_backend: str) -> AsyncIterator[None]:
    """Keeps one event loop for all tests: gRPC delivers late events to whatever loop comes after a closed one."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # A server may run in this process too; older grpcio lets the second of two loops find its socket empty.
        if not isinstance(context.get("exception"), BlockingIOError):
            (before or asyncio.AbstractEventLoop.default_exception_handler)(loop, context)

    loop.set_exception_handler(handle)
    yield
    loop.set_exception_handler(before)


@pytest.fixture
def done() -> Any:
    """Await the result of an async call; the sync client's results come as they are."""

    async def wait(result: Any) -> Any:
        return await result if inspect.isawaitable(result) else result

    return wait


@pytest.fixture
def items() -> Any:
    """All items of a sync or async iterator."""

    async def collect(iterator: Any) -> list[Any]:
        return [item async for item in iterator] if hasattr(iterator, "__aiter__") else list(iterator)

    return collect


@pytest.fixture
def next_of() -> Any:
    """The next item of a sync or async iterator."""

    async def take(iterator: Any) -> Any:
        return await anext(iterator) if hasattr(iterator, "__anext__") else next(iterator)

    return take


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for `btrdb.test`, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The Test Authority")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.DNSName("btrdb.test"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    encodings = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "cert.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(*encodings))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    from axe import fetch

    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, which brings axe-core")
    source = fetch(npm, tmp_path_factory.mktemp("axe"))
    if source is None:
        pytest.skip("needs axe-core from the npm registry")
    return source
