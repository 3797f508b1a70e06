"""Pages of audits: coverage first, every check with what it found, nothing of it a command to a browser, and small."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from airflow_provider_btrdb.audit import CheckResult, Comparison, Coverage, Failure, Place, RunResult, load, load_last
from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.report import (
    Badge,
    Bar,
    KeptRun,
    Page,
    Picture,
    Section,
    Table,
    audit_page,
    audits_page,
    index_page,
    page_html,
    store_pages,
)
from airflow_provider_btrdb.report.audit_index import DRAWN, MOST_RUNS
from airflow_provider_btrdb.report.audit_page import BARS, PLACES, cut, percent_text
from airflow_provider_btrdb.report.pictures import FOOT, LABEL, TALL, Box, drawn

EVIL = "<script>alert(1)</script>\"'&\u202eabc\u05d0"
UUIDS = tuple(f"00000000-0000-0000-0000-00000000000{n}" for n in range(1, 5))
FINE = Coverage(
    outcome="pass", message="9 streams in 2 collections are seen", collections=2, streams=9, before_collections=2,
    before_streams=8, expected_streams=7,
)  # fmt: skip


def failure(number: int, **facts: Any) -> Failure:
    return Failure(**{"id": f"{number:016x}", "message": f"wrong {number}", "uuid": UUIDS[0], **facts})


def check(name: str, outcome: Any, **facts: Any) -> CheckResult:
    return CheckResult(**{"name": name, "kind": "required", "outcome": outcome, "message": f"it is {outcome}", **facts})


def run(*checks: CheckResult, number: int = 0, **facts: Any) -> RunResult:
    told = {"run_id": f"2024{number:04d}T000000.000000Z", "began": f"2024/{number:04d}", "suite": "grid"}
    return RunResult(**{"seconds": 1.5, "sql": True, "coverage": FINE, "checks": checks, **told, **facts})


FULL = run(
    check("passes", "pass", checked=9, error_if="> 0", warn_if="> 0"),
    check(
        "fails",
        "fail",
        description="Units matter",
        owner="grid people",
        checked=900,
        failed=5,
        hard=4,
        error_if="> 1",
        warn_if="> 0",
        sample=(
            failure(1, collection="c/a", name="old"),
            failure(2, collection="c/b", name="fresh", uuids=UUIDS),
            failure(3, collection="c/b", name="mild", severity="warn"),
        ),
        comparison=Comparison(
            new=1,
            fixed=2,
            still=4,
            new_sample=(failure(2, collection="c/b", name="fresh", uuids=UUIDS),),
            fixed_sample=(failure(4, collection="c/c", name="mended"),),
        ),
    ),
    check("could not", "error", unit="rows"),
    check("keys", "warn", unit="keys", checked=4, failed=1, severity="warn", sample=(failure(9, uuid=None),)),
    check("was not", "skipped"),
    places=(Place(collection="c/b", streams=4, failures=3), Place(collection="c/a", streams=2, failures=2)),
    places_left_out=1,
    shard=(1, 4),
    source="suite.yaml",
    endpoint="host:4410",
)


def section(page: Page, title: str) -> Section:
    return next(one for one in page.sections if one.title == title)


def rows(page: Page, title: str) -> list[list[str]]:
    table = section(page, title).table
    assert table is not None
    return [["|".join(cell.lines) for cell in row] for row in table.rows]


def test_coverage_comes_first_and_then_the_worst() -> None:
    page = audit_page(FULL, facts=[("Task", "nightly"), ("Nothing", "")])
    titles = [one.title for one in page.sections]
    assert titles == ["Coverage", "Checks", "Where failures sit", "could not", "fails", "keys", "was not"]
    assert page.summary == "Audit grid: error (1 error, 1 fail, 1 warn, 1 skipped, 1 pass)."
    assert page.badges == (Badge(text="error", tone="bad"),)
    facts = {fact.label: fact.value for fact in page.facts}
    assert facts == {
        "Task": "nightly", "Suite": "suite.yaml", "Server": "host:4410", "Began": "2024/0000", "Took": "1.5 s",
        "Run": FULL.run_id, "Part": "1 of 4, counted from 0",
    }  # fmt: skip
    assert section(page, "Coverage").badges == (Badge(text="pass", tone="good"),)
    assert rows(page, "Coverage") == [["Collections", "2", "2", ""], ["Streams", "9", "8", "7"]]


def test_every_check_has_its_numbers_and_limits() -> None:
    page = audit_page(FULL)
    assert rows(page, "Checks") == [
        ["could not", "error", "", "", "", "", "", "", "", "", ""],
        ["fails", "fail", "5", "900 streams", "0.56%", "1", "4", "2", "> 1", "> 0", "grid people"],
        ["keys", "warn", "1", "4 keys", "25.00%", "", "", "", "", "", ""],
        ["was not", "skipped", "", "", "", "", "", "", "", "", ""],
        ["passes", "pass", "0", "9 streams", "0.00%", "", "", "", "> 0", "", ""],
    ]
    table = section(page, "Checks").table
    assert table is not None
    links = {row[0].lines[0]: row[0].href for row in table.rows}
    anchors = {one.title: f"#{one.anchor}" for one in page.sections if one.anchor}
    assert links == {**anchors, "passes": ""}
    assert len(set(anchors.values())) == 4


def test_failures_say_whether_they_are_new() -> None:
    page = audit_page(FULL)
    assert section(page, "fails").words == ("Units matter", "it is fail.", "Owner: grid people.")
    assert rows(page, "fails") == [
        ["c/a", "old", "wrong 1", "still", UUIDS[0]],
        ["c/b", "fresh", "wrong 2", "new", f"{'|'.join(UUIDS[:3])}|..."],
        ["c/b", "mild", "wrong 3", "still", UUIDS[0]],
        ["c/c", "mended", "wrong 4", "fixed", UUIDS[0]],
    ]
    table = section(page, "fails").table
    assert table is not None
    assert table.left_out == 3
    assert [row[2].tone for row in table.rows] == ["plain", "plain", "warn", "plain"]
    assert rows(page, "keys") == [["wrong 9"]]
    assert section(page, "could not").table is None


def test_what_is_lost_is_told() -> None:
    lost = FINE.model_copy(update={"outcome": "error", "streams": 7, "lost": ("c/x", EVIL), "lost_count": 5})
    page = audit_page(run(check("passes", "pass"), coverage=lost))
    assert rows(page, "Collections that are seen no more") == [["c/x"], [EVIL]]
    table, seen = section(page, "Collections that are seen no more").table, section(page, "Coverage").table
    assert table is not None
    assert seen is not None
    assert table.left_out == 3
    assert [row[1].tone for row in seen.rows] == ["plain", "bad"]
    assert page.badges[0].text == "error"


@pytest.mark.parametrize(
    ("failed", "checked", "text"),
    [(1, 3, "33.33%"), (0, 3, "0.00%"), (1, 10**6, "< 0.01%"), (999_999, 10**6, "> 99.99%"), (3, 3, "100.00%")],
)
def test_percentages_round_nothing_away(failed: int, checked: int, text: str) -> None:
    assert percent_text(check("c", "fail", failed=failed, checked=checked)) == text


# ---------------------------------------------------------------- as HTML


def evil() -> RunResult:
    wrong = failure(1, message=EVIL, collection=EVIL, name=EVIL)
    one = check(EVIL, "fail", description=EVIL, owner=EVIL, message=EVIL, failed=1, checked=1, sample=(wrong,))
    places = (Place(collection=EVIL, streams=1, failures=1),)
    return run(one, places=places, suite=EVIL, description=EVIL, source=EVIL, endpoint=EVIL, run_id=EVIL)


def test_whatever_streams_are_called_is_text(seen_in: Any) -> None:
    result = evil()
    index = audits_page([KeptRun("a/report.html", result)] * 2, unreadable=[EVIL])
    for page in (audit_page(result, index="../index.html"), index):
        html = page_html(page)
        seen = seen_in(html)
        assert [tag for tag, _ in seen.elements].count("script") == 1
        assert EVIL in seen.texts["td"]
        assert not re.search(r"https?:|@import|url\(", html)
        given = {name for _, attributes in seen.elements for name in attributes}
        assert not given & {"src", "onclick", "onload", "style", "hidden"}
        ids = [attributes["id"] for _, attributes in seen.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        led = [attributes["href"] for tag, attributes in seen.elements if tag == "a"]
        assert set(led) <= {"../index.html", "#check-0", "a/report.html"}
        assert all(link[1:] in ids for link in led if link.startswith("#"))


def test_names_that_turn_the_writing_direction_turn_no_other_words(seen_in: Any) -> None:
    html = page_html(audit_page(evil()))
    seen = seen_in(html)
    assert "unicode-bidi: plaintext" in seen.texts["style"][0]
    assert [text for text in seen.texts["bdi"] if EVIL in text] == [f"Audit {EVIL}", EVIL]
    assert {"1", EVIL} == set(seen.texts["text"])


@pytest.mark.parametrize("text", ["unit is 'Volts', which is none of 'volts', 'amps', 'deg', 'Hz'", '"' * 9_999])
def test_the_page_of_100_checks_is_small(seen_in: Any, text: str) -> None:
    name = "grid/ieee118/bus007" if len(text) < 100 else text
    several = tuple(failure(n, message=text, collection=name, name=name, uuids=UUIDS) for n in range(1000))
    comparison = Comparison(new=10, still=1000, fixed=0, new_sample=several[:9])
    checks = [
        check(f"{n} {name}", "fail", message=text, description=text, owner=text, failed=1010, sample=several,
              checked=2000, comparison=comparison, error_if="> 12.5%", warn_if="> 0")
        for n in range(100)
    ]  # fmt: skip
    places = tuple(Place(collection=f"{n}{name}", streams=1, failures=1) for n in range(500))
    lost = FINE.model_copy(update={"outcome": "error", "message": text, "lost": (name,) * 20, "lost_count": 20})
    page = audit_page(run(*checks, places=places, coverage=lost, suite=text, description=text))
    assert len(page_html(page).encode()) < 300_000
    tables = [one.table for one in page.sections if one.anchor]
    assert len(tables) == 100
    for table in tables:
        assert table is not None
        assert len(table.rows) >= 1
        assert len(table.rows) + table.left_out == 1010


def test_one_failing_check_shows_all_of_its_sample() -> None:
    several = tuple(failure(n, collection="c", name=f"n{n}") for n in range(200))
    page = audit_page(run(check("fails", "fail", failed=200, sample=several)))
    assert len(rows(page, "fails")) == 200


def test_texts_are_cut_by_what_they_weigh() -> None:
    assert cut("abc", 3) == "abc"
    assert cut("abcd", 3) == "abc\u2026"
    assert cut('""', 6) == '"\u2026'
    assert cut("\u05d0\u05d0", 3) == "\u05d0\u2026"


# ---------------------------------------------------------------- pictures


def test_the_longest_bar_takes_the_width() -> None:
    bars = (
        Bar(label="a", parts=((3, "bad"), (1, "warn"))), Bar(label="b" * (LABEL + 1), parts=((1, "bad"), (0, "warn"))),
    )  # fmt: skip
    drawing = drawn(Picture(label="l", bars=bars))
    assert [(box.x, box.width, box.tone) for box in drawing.boxes[:3]] == [
        (0, 75, "bad"), (75, 25, "warn"), (0, 25, "bad"),
    ]  # fmt: skip
    assert [(label.count, len(label.text)) for label in drawing.labels] == [("4", 1), ("1", LABEL)]
    assert drawing.boxes[2].y + drawing.boxes[2].height <= drawing.height


def test_upright_bars_stand_on_their_feet() -> None:
    bars = tuple(Bar(label=f"{n}", parts=((n, "bad"), (n, "warn")), tone="good") for n in range(40))
    drawing = drawn(Picture(label="l", bars=bars, upright=True))
    assert drawing.height == TALL + FOOT
    assert [box for box in drawing.boxes if box.title == "0"] == [Box(0, TALL, 2, FOOT, "good", "0")]
    foot, hard, mild = [box for box in drawing.boxes if box.title == "39"]
    assert (foot.x, hard.height, mild.y) == (97.5, TALL / 2, 0)
    assert hard.y + hard.height == TALL


def test_few_bars_do_not_spread() -> None:
    only = Picture(label="l", bars=(Bar(label="a", parts=((0, "bad"),)),), upright=True)
    assert [box.width < 5 for box in drawn(only).boxes] == [True]


def test_places_beyond_the_picture_stand_in_the_table() -> None:
    places = tuple(Place(collection=f"c{n}", streams=1, failures=500 - n) for n in range(300))
    one = section(audit_page(run(check("c", "fail"), places=places, places_left_out=7)), "Where failures sit")
    assert one.picture is not None
    assert one.table is not None
    assert ([bar.parts[0][0] for bar in one.picture.bars], len(one.table.rows), one.table.left_out) == (
        [500 - n for n in range(BARS)], PLACES, 307 - PLACES,
    )  # fmt: skip
    assert f"The worst {BARS} collections" in one.picture.label


# ---------------------------------------------------------------- the runs of a folder


def keep(folder: Path, result: RunResult) -> None:
    (folder / result.run_id).mkdir()
    (folder / result.run_id / "run.json").write_text(result.model_dump_json())


def test_runs_stand_below_their_suite_newest_first() -> None:
    failing = check("c", "fail", failed=5, hard=3)
    kept = [
        KeptRun("4", run(failing, number=4)), KeptRun("3", run(check("c", "pass"), number=3, suite="b")),
        KeptRun("2", run(check("c", "warn", failed=1), number=2)), KeptRun("1", run(failing, number=1, shard=(0, 2))),
    ]  # fmt: skip
    page = audits_page(kept, more=True)
    assert page.summary == "4 runs, and older ones that are not shown."
    assert [(one.title, one.badges[0].text) for one in page.sections] == [
        ("grid", "fail"), ("b", "pass"), ("grid, shard 0 of 2", "fail"),
    ]  # fmt: skip
    assert rows(page, "grid") == [
        ["2024/0004", "fail", "5", "0", "1", "0", "0", "0", "2", "9"],
        ["2024/0002", "warn", "1", "0", "0", "1", "0", "0", "2", "9"],
    ]
    picture = section(page, "grid").picture
    assert picture is not None
    assert [(bar.label, bar.parts, bar.tone) for bar in picture.bars] == [
        ("2024/0002: warn, 1 failures", ((0, "bad"), (1, "warn")), "warn"),
        ("2024/0004: fail, 5 failures", ((3, "bad"), (2, "warn")), "bad"),
    ]
    assert section(page, "b").picture is None


def test_the_picture_of_many_runs_has_the_newest() -> None:
    kept = [KeptRun(str(n), run(check("c", "pass"), number=n)) for n in reversed(range(DRAWN + 9))]
    picture = section(audits_page(kept), "grid").picture
    assert picture is not None
    assert [bar.label[:9] for bar in picture.bars] == [f"2024/{n:04d}" for n in range(9, DRAWN + 9)]


def test_pages_lie_beside_the_runs(tmp_path: Path) -> None:
    for number in range(3):
        keep(tmp_path, run(check("c", "pass"), number=number))
    odd = run(check("c", "pass"), number=3).model_copy(update={"run_id": '20249999T#?"'})
    keep(tmp_path, odd)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text("{}")
    assert store_pages(tmp_path, odd) == tmp_path / "index.html"
    assert store_pages(tmp_path, run(check("c", "pass"), number=1)) == tmp_path / "index.html"
    index = (tmp_path / "index.html").read_text()
    links = re.findall(r'href="([^"]+)"', index)
    names = [f"2024{n:04d}T000000.000000Z" for n in range(3)]
    assert [unquote(link) for link in links] == [
        f"{odd.run_id}/report.html", f"{names[2]}/run.json", f"{names[1]}/report.html", f"{names[0]}/run.json",
    ]  # fmt: skip
    assert all((tmp_path / unquote(link)).is_file() for link in links)
    assert "#" not in links[0]
    assert "Not readable" in index
    assert ">other<" in index
    assert 'href="../index.html"' in (tmp_path / odd.run_id / "report.html").read_text()


def test_a_run_can_be_read_without_its_failures(tmp_path: Path) -> None:
    keep(tmp_path, FULL)
    light = load(tmp_path / FULL.run_id, failures=False)
    bare = [one.model_copy(update={"sample": (), "comparison": None}) for one in FULL.checks]
    assert light == FULL.model_copy(update={"checks": tuple(bare), "places": ()})
    assert load(tmp_path / FULL.run_id) == FULL


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "3", "[1]", "{}", '{"checks": 4}', '{"checks": [3]}', '{"checks": ["x"]}', '{"checks": [[5]]}', "\xff",
        pytest.param("[" * 100_000, id="deep"),
    ],
)  # fmt: skip
def test_what_is_no_run_hides_no_other(tmp_path: Path, text: str) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="is no run of this version"):
        load(tmp_path / "broken", failures=False)
    keep(tmp_path, FULL)
    index = store_pages(tmp_path, FULL).read_text()
    assert ">broken<" in index
    assert f"{FULL.run_id}/report.html" in index


def test_a_run_that_is_removed_meanwhile_is_no_error(tmp_path: Path) -> None:
    for number in range(3):
        keep(tmp_path, run(check("c", "pass"), number=number))

    def read(place: Path) -> RunResult:
        if "0001" in place.name:
            shutil.rmtree(place)
        return load(place)

    page = index_page(tmp_path, page_of=lambda _: "report.html", read=read)
    assert page.summary == "2 runs."
    assert [row[0] for row in rows(page, "grid")] == ["2024/0002", "2024/0000"]
    assert len(page.sections) == 1


def test_a_run_of_another_suite_that_cannot_be_read_is_passed_over(tmp_path: Path) -> None:
    older, newer = run(check("c", "pass"), number=1), tmp_path / "20249999T000000.000000Z"
    keep(tmp_path, older)
    for name in ("failures.jsonl", "collections.jsonl"):
        (tmp_path / older.run_id / name).touch()
    newer.mkdir()
    (newer / "run.json").write_text('{"format": 2, "suite": "another"}')
    last = load_last(tmp_path, older.suite)
    assert last is not None
    assert last.result == older
    for text in (json.dumps({"format": 2, "suite": older.suite}), "{}", "[]", "{"):
        (newer / "run.json").write_text(text)
        with pytest.raises(InputError, match="is no run of this version"):
            load_last(tmp_path, older.suite)


def test_an_index_reads_no_more_runs_than_it_shows(tmp_path: Path) -> None:
    for number in range(MOST_RUNS + 3):
        keep(tmp_path, run(check("c", "pass"), number=number))
    store_pages(tmp_path, run(check("c", "pass"), number=7))
    index = (tmp_path / "index.html").read_text()
    assert f"{MOST_RUNS} runs, and older ones that are not shown." in index
    assert f"2024{MOST_RUNS + 2:04d}T" in index
    assert "20240002T" not in index


def test_a_page_shows_only_what_it_has(seen_in: Any) -> None:
    html = page_html(Page(title="T", summary="S", sections=(Section(title="U", table=Table(columns=("a",), rows=())),)))
    tags = [tag for tag, _ in seen_in(html).elements]
    assert not {"svg", "figure", "a", "dl"} & set(tags)
