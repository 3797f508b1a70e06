"""Pages: everything is said and escaped, nothing is loaded, and no script runs but our own."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any
from uuid import UUID

from airflow_provider_btrdb.catalog.snapshot import Scope
from airflow_provider_btrdb.provision import Change, Difference, Plan, Unmanaged
from airflow_provider_btrdb.report import Badge, Cell, Fact, Page, Section, Table, page_html, page_text, plan_page
from airflow_provider_btrdb.report.plan_page import SHOWN

EVIL = "<script>alert(1)</script>\"'&\x1b[2J"
UUID_ = UUID(int=5)


def plan(count: int = 1) -> Plan:
    changes = [
        Change(
            kind="create",
            collection=EVIL,
            name=f"{n}{EVIL}",
            uuid=UUID_,
            differences=(Difference(f"annotations.{EVIL}", "add", None, EVIL),),
        )
        for n in range(count)
    ]
    changes += [
        Change(kind="ambiguous", collection="c", name="n", uuid=UUID_, rivals=(UUID_, UUID(int=6)), detail="two"),
        Change(kind="destroy", collection="c", name="m", uuid=UUID_, property_version=7),
        Change(
            kind="update",
            collection="c",
            name="o",
            uuid=UUID_,
            property_version=3,
            differences=(Difference("unit", "set", "V", "A"),),
        ),
    ]
    return Plan(
        changes=tuple(changes),
        unchanged=4,
        unmanaged=2,
        unmanaged_first=(Unmanaged("u", EVIL, UUID_),),
        scope=Scope(("c",), ("x",)),
        shard=(1, 8),
    )


def test_the_page_of_a_plan_says_everything(seen_in: Any) -> None:
    page = plan_page(plan(), facts=[("Server", EVIL), ("Nothing", "")])
    assert [(section.title, section.badges[0].text) for section in page.sections] == [
        ("Ambiguous", "1"),
        ("To destroy", "1"),
        ("To update", "1"),
        ("To create", "1"),
        ("Unmanaged", "2"),
    ]
    assert page.badges == (Badge(text="destructive", tone="bad"),)
    assert page.facts == (
        Fact(label="Server", value=EVIL),
        Fact(label="Looked at", value="c*, x"),
        Fact(label="Part", value="1 of 8, counted from 0"),
    )
    seen = seen_in(page_html(page))
    assert {"c", "n", "two", str(UUID(int=6)), "7", "~ unit: 'V' -> 'A'", EVIL, f"0{EVIL}"} <= set(seen.texts["td"])
    assert "Plan: 1 to create, 1 to update, 1 to destroy, 1 ambiguous, 4 unchanged, 2 unmanaged." in seen.texts["p"]
    assert "and 1 more" in seen.texts["p"]


def test_names_are_harmless(seen_in: Any) -> None:
    html = page_html(plan_page(plan(), title=EVIL))
    seen = seen_in(html)
    assert [tag for tag, _ in seen.elements].count("script") == 1
    assert EVIL in seen.texts["bdi"]
    policy = next(
        given["content"] for tag, given in seen.elements if given.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    for kind, element in (("style-src", "style"), ("script-src", "script")):
        digest = hashlib.sha256("".join(seen.texts[element]).encode()).digest()
        assert f"{kind} 'sha256-{base64.b64encode(digest).decode()}'" in policy
    assert "default-src 'none'" in policy


def test_the_page_needs_no_network_and_no_script(seen_in: Any) -> None:
    html = page_html(plan_page(plan()))
    seen = seen_in(html)
    assert not [given for _, given in seen.elements if {"src", "href", "onclick", "style"} & given.keys()]
    assert not re.search(r"https?://|@import|url\(", html)
    assert not [tag for tag, given in seen.elements if "hidden" in given]
    assert ("html", {"lang": "en"}) in seen.elements
    assert all(given.get("scope") == "col" for tag, given in seen.elements if tag == "th")
    assert "prefers-color-scheme: dark" in html


def test_a_huge_plan_gives_a_page_of_bounded_size() -> None:
    section = plan_page(plan(SHOWN + 5)).sections[3]
    assert section.table is not None
    assert (section.title, len(section.table.rows), section.table.left_out) == ("To create", SHOWN, 5)


def test_a_page_that_leaves_places_out_says_so() -> None:
    scope = Scope(("p/",), tuple(f"c{n}" for n in range(30)))
    (fact,) = plan_page(Plan(changes=(), unchanged=2, scope=scope)).facts
    assert fact.value.startswith("p/*, c0, ")
    assert fact.value.endswith("c18 and 11 more")


def test_an_empty_plan_has_a_page() -> None:
    html = page_html(plan_page(Plan(changes=(), unchanged=2)))
    assert "Plan: nothing to do, 2 unchanged." in html
    assert "<table" not in html


def test_a_page_as_text() -> None:
    table = Table(
        columns=("a", "b"), rows=((Cell.of("x\ny", 1), Cell.of(None)), (Cell.of(""), Cell.of("z"))), left_out=3
    )
    page = Page(
        title="T",
        summary="S",
        badges=(Badge(text="b"),),
        facts=(Fact(label="l", value=EVIL),),
        sections=(Section(title="U", words=("w",), badges=(Badge(text="2"),), table=table), Section(title="V")),
    )
    assert page_text(page).splitlines() == [
        "T [b]",
        "S",
        "l: <script>alert(1)</script>\"\\'&\\x1b[2J",
        "",
        "U [2]",
        "w",
        "  x\\ny; 1 | None",
        "  z",
        "  ... and 3 more",
        "",
        "V",
    ]
    assert page_text(plan_page(plan())).count("\x1b") == 0
