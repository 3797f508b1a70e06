"""`make screenshots`: the pictures of audits' pages, by themselves and inside Airflow, taken by Chromium.

The streams are those of the example DAGs.

Needs Debian's chromium, or another one whose path --chromium names.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from pathlib import Path

from chromium import Page, browser, keep
from standalone import api_server

from airflow_provider_btrdb.audit import load_last, parse_suite, run_suite, store
from airflow_provider_btrdb.client import connect
from airflow_provider_btrdb.report import store_pages
from airflow_provider_btrdb.testing import devserver

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 1000, 1300
AIRFLOW_HEIGHT = 600
SETTLED = 2
"""Seconds after which Airflow has drawn its frame."""
SUITE = """\
name: grid
select: {prefix: grid/ieee118/}
expect_at_least: {streams: 1534, collections: 118}
defaults: {owner: grid operations}
checks:
- required: [unit, annotations.base_kv, annotations.phase]
- allowed: {unit: [volts, amps, deg, Hz]}
- unique: [collection, name]
- count_between: {least: 3, most: 3}
  name: three voltages at every bus
  where: {name: {matches: "^L.MAG$"}}
- rare_keys: 1%
- not_in_future: true
"""


def make_pages(folder: Path) -> Path:
    """The page of the second of three runs; in between, a stream was mended and another one went wrong."""
    sys.path.insert(0, str(ROOT / "example_dags"))
    quickstart_data = importlib.import_module("quickstart_data")
    suite, results = parse_suite(SUITE), []
    with devserver() as server, connect(server.endpoint) as db:
        data = ROOT / "example_dags" / "data"
        rows = quickstart_data.phasor_streams(data)
        db.create_many({key: row[key] for key in row if key != "uuid" or row["uuid"]} for row in rows)
        for _ in range(3):
            audit = db.run(run_suite(suite, last=load_last(folder, suite.name)))
            result = audit.result
            results.append(result)
            store(audit, folder)
            audit.close()
            store_pages(folder, result)
            wrong = next(failure for check in result.checks if check.kind == "allowed" for failure in check.sample)
            db.streams_in_collection(wrong.collection, tags={"name": wrong.name})[0].update(tags={"unit": "volts"})
            db.streams_in_collection("grid/ieee118/bus112", tags={"name": "L1MAG"})[0].update(tags={"unit": "kV"})
    return folder / results[1].run_id / "report.html"


def photograph(page: Page, report: Path) -> bytes:
    """The page of a run."""
    page.call("Page.navigate", url=report.as_uri())
    page.until("document.readyState === 'complete' && document.querySelector('th button') !== null")
    return page.view()


def photograph_airflow(page: Page, home: Path, runs: Path) -> bytes:
    """All runs, in a window of Airflow."""
    settings = {"AIRFLOW__BTRDB__AUDIT_PAGE": "True", "AIRFLOW__BTRDB__AUDIT_PATH": str(runs)}
    with api_server(home, settings) as airflow:
        size = {"width": WIDTH, "height": AIRFLOW_HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        page.call("Page.navigate", url=f"{airflow.url}/plugin/btrdb-audits")
        page.until("document.querySelector('iframe').contentDocument.querySelector('th button') !== null")
        time.sleep(SETTLED)
        return page.view()


def main() -> int:
    """Write the pictures; 0 if they are small enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "images", help="a folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, browser(options.chromium, WIDTH, HEIGHT) as page:
        runs = Path(home, "runs")
        report = make_pages(runs)
        pictures = {
            "audit-report": photograph(page, report),
            "audit-in-airflow": photograph_airflow(page, Path(home, "airflow"), runs),
        }
    return keep(pictures, options.output)


if __name__ == "__main__":
    sys.exit(main())
