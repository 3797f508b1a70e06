"""Specifications: what their files mean, and every fault of a file with its line, in one go."""

from __future__ import annotations

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_btrdb.client.errors import InputError
from airflow_provider_btrdb.provision import (
    SpecError,
    WantedStream,
    format_of,
    parse_spec,
    print_spec,
    read_spec,
    spec_from_rows,
)

UUID_ = UUID("0d22a53b-e2ef-4e0a-ab89-b2d48fb2592a")

IEEE118 = """\
prefixes: [ieee118/]
defaults: {annotations: {owner: grid, "null": null}}
streams:
  - collection: ieee118/bus{{ bus }}
    name: "{{ channel[0] }}{{ channel[1] }}"
    unit: "{{ {'MAG': magnitude, 'ANG': 'deg'}[channel[1]] }}"
    annotations: {bus: "{{ bus }}", limits: {high: 1.5, low: [0, "a"]}}
    for_each: {bus: 1..118, channel: [[L1, MAG], [L1, ANG], [L2, MAG], [L2, ANG], [L3, MAG], [L3, ANG]]}
  - {collection: "ieee118/bus{{ bus }}", name: FREQ, unit: Hz, for_each: {bus: 1..118}}
"""


def faults(text: str, kind: Any = "yaml", **options: Any) -> list[tuple[int, str, str]]:
    with pytest.raises(SpecError) as caught:
        parse_spec(text, kind, source="the file", **options)
    assert all(str(fault) in str(caught.value) for fault in caught.value.faults)
    return [(fault.line, fault.field, fault.message) for fault in caught.value.faults]


def entry(**fields: Any) -> str:
    return json.dumps({"streams": [{"collection": "c", "name": "n", **fields}]})


# ---------------------------------------------------------------- what files mean


def test_ten_lines_stand_for_a_grid() -> None:
    spec = parse_spec(IEEE118, "yaml", params={"magnitude": "volts"})
    assert len(IEEE118.splitlines()) <= 10
    assert len(spec.streams) == 118 * 7
    assert len({stream.path for stream in spec.streams}) == 118 * 7
    assert spec.streams[7 - 1 + 6] == WantedStream(
        collection="ieee118/bus3",
        name="L1MAG",
        unit="volts",
        annotations=(("bus", "3"), ("limits", '{"high":1.5,"low":[0,"a"]}'), ("null", None), ("owner", "grid")),
    )
    assert spec.prefixes == ("ieee118/",)
    assert spec.streams[-1].unit == "Hz"


def test_every_field_has_its_place() -> None:
    text = f"""
namespace: {UUID_}
streams:
  - collection: c
    name: n
    unit: u
    ingress: i
    distiller: d
    generation: 2
    moved_from: a/b/c
    owns: [y, x]
    ignore_changes: [unit, annotations.note]
    prevent_destroy: true
  - {{collection: c, name: m, uuid: {str(UUID_).upper()}, owns: "*"}}
  - {{collection: c, name: o, moved_from: [a, x/y]}}
"""
    spec = parse_spec(text, "yaml")
    first, second, third = spec.streams
    assert spec.namespace == UUID_
    assert first == WantedStream(
        collection="c", name="n", unit="u", ingress="i", distiller="d", generation=2, moved_from=("a/b", "c"),
        owns=("x", "y"), ignore_changes=("annotations.note", "unit"), prevent_destroy=True,
    )  # fmt: skip
    assert (second.uuid, second.owns, second.unit) == (UUID_, ("*",), None)
    assert third.moved_from == ("a", "x/y")
    assert [stream.place for stream in spec.streams] == [0, 1, 2]
    assert spec.scope.collections == ("a", "a/b", "c")


def test_yaml_json_csv_and_rows_say_the_same() -> None:
    yaml = parse_spec(
        "streams: [{collection: c, name: n, unit: V, generation: 1, annotations: {a: '1', b: x}}]", "yaml"
    )
    assert parse_spec(entry(unit="V", generation=1, annotations={"a": "1", "b": "x"}), "json") == yaml
    table = 'name,collection,unit,annotations.a,annotations,generation\nn,c,V,1,"{""b"": ""x""}",1\n'
    assert parse_spec(table, "csv") == yaml
    row = {"collection": "c", "name": "n", "unit": "V", "annotations": {"b": "x"}, "annotations.a": "1", "uuid": None}
    assert spec_from_rows([row | {"generation": 1}]) == yaml


def test_a_table_takes_from_outside_what_it_has_no_place_for() -> None:
    table = "collection,name,unit\nc,n,\nc,m,A\n"
    spec = parse_spec(table, "csv", prefixes=["c"], namespace=UUID_, defaults={"unit": "V", "annotations": {"k": "v"}})
    assert [stream.unit for stream in spec.streams] == ["V", "A"]
    assert {stream.annotations for stream in spec.streams} == {(("k", "v"),)}
    assert (spec.prefixes, spec.namespace) == (("c",), UUID_)
    assert faults("collection,name\n", "csv", defaults={"unot": "V"})[0][1] == "defaults.unot"


def test_one_prefix_is_a_text_and_not_its_letters() -> None:
    assert spec_from_rows([], prefixes="grid/").prefixes == ("grid/",)
    assert parse_spec('{"prefixes": ["a/"], "streams": []}', "json", prefixes="grid/").prefixes == ("a/", "grid/")
    assert parse_spec("collection,name\n", "csv", prefixes="grid/").prefixes == ("grid/",)


def test_data_is_never_a_template() -> None:
    """Rows and tables are data of others, and a printed specification is stored text."""
    text = "{{ 1 + 1 }}{% raw %}"
    for spec in (
        spec_from_rows([{"collection": text, "name": "n"}]),
        parse_spec(f"collection,name\n{text},n\n", "csv"),
    ):
        assert spec.streams[0].collection == text
        assert parse_spec(print_spec(spec), "yaml") == spec


def test_a_template_sees_values_and_never_the_text_of_the_file() -> None:
    text = "streams: [{collection: c, name: '{{ given }}'}]"
    given = "x', unit: 'V'}, {collection: c, name: 'y"
    assert [stream.name for stream in parse_spec(text, "yaml", params={"given": given}).streams] == [given]


def test_ranges_keep_their_zeros() -> None:
    text = "streams: [{collection: c, name: 'n{{ i }}', for_each: {i: 08..11}}]"
    assert [stream.name for stream in parse_spec(text, "yaml").streams] == ["n08", "n09", "n10", "n11"]


def test_a_file_is_read_by_its_ending(tmp_path: Path) -> None:
    path = tmp_path / "streams.json"
    path.write_text("\ufeff" + entry(), encoding="utf-8")
    assert read_spec(path).source == str(path)
    assert [format_of(f"s3://b/x.{ending}") for ending in ("YML", "yaml", "csv")] == ["yaml", "yaml", "csv"]
    path.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8"):
        read_spec(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_spec(tmp_path / "none.csv")
    with pytest.raises(InputError, match=r"must end in \.yaml, \.json or \.csv"):
        read_spec(tmp_path / "streams.toml")


# ---------------------------------------------------------------- what is wrong with them


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("5", 'is the number 5 and must be text: write "5"'),
        ("0123", 'is the number 0123 and must be text: write "0123"'),
        ("12:30", 'is the number 12:30 and must be text: write "12:30"'),
        ("1_0", 'is the number 1_0 and must be text: write "1_0"'),
        ("1.50", 'is the number 1.50 and must be text: write "1.50"'),
        ("yes", 'is yes and must be text: write "yes"'),
        ("2024-01-01", 'is the date 2024-01-01 and must be text: write "2024-01-01"'),
        ("{when: 2024-01-01}", "must be text"),
    ],
)
def test_what_is_no_text_is_refused_with_the_quoted_form(value: str, said: str) -> None:
    text = f"streams:\n- collection: c\n  name: n\n  annotations:\n    k: {value}\n"
    ((line, field, message),) = faults(text)
    assert (line, field) == (5, "annotations.k")
    assert said in message


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"nam": "x"}, "nam", "did you mean 'name'? known are collection, name"),
        ({"name": ""}, "name", "is empty"),
        ({"collection": "x" * 256}, "collection", "has 256 bytes; the most are 255"),
        ({"unit": "\u00e9" * 128}, "unit", "has 256 bytes; the most are 255"),
        ({"unit": "a\0b"}, "unit", "NUL"),
        ({"name": "\ud800"}, "name", "no text that UTF-8 can carry"),
        ({"annotations": {"": "x"}}, "annotations.", "the key is empty"),
        ({"annotations": {"k": "a\0"}}, "annotations.k", "NUL"),
        ({"annotations": "x"}, "annotations", "is 'x' and must be a mapping"),
        ({"uuid": "12"}, "uuid", "is '12', which is no uuid"),
        ({"generation": -1}, "generation", "is -1 and must be a whole number, 0 or more"),
        ({"generation": True}, "generation", "is True and must be a whole number"),
        ({"moved_from": "n"}, "moved_from", "must be collection/name"),
        ({"owns": "site"}, "owns", "must be a list of annotation keys, or '*'"),
        ({"ignore_changes": ["unt"]}, "ignore_changes", "'unt' cannot be ignored; did you mean 'unit'?"),
        ({"ignore_changes": ["name"]}, "ignore_changes", "'name' cannot be ignored"),
        ({"prevent_destroy": "yes"}, "prevent_destroy", "is 'yes' and must be true or false"),
        ({"name": "{{ x"}, "name", "cannot be rendered"),
        ({"name": "{{ x }}"}, "name", "'x' is undefined; known are none"),
        ({"name": "{{ ().__class__ }}"}, "name", "cannot be rendered: access to attribute '__class__'"),
        ({"name": "{{ 1 / 0 }}"}, "name", "cannot be rendered: division by zero"),
        ({"name": "{{ cycler().next() }}"}, "name", "cannot be rendered: at least one item has to be provided"),
        ({"name": "{{ i }}", "for_each": {"i": "00000000..10000000"}}, "for_each.i", "has 10000001 values; more than"),
        ({"name": "{{ i }}", "for_each": {"i": "3..1"}}, "for_each.i", "is '3..1' and must be a list"),
        ({"name": "{{ i }}", "for_each": {"i": []}}, "for_each.i", "must be a list that is not empty"),
        ({"name": "{{ i }}", "for_each": {"i": ["a", True]}}, "for_each.i.1", 'is true and must be text: write "true"'),
        ({"name": "{{ i }}", "for_each": {"i": [[1, 0.5]]}}, "for_each.i.0.1", "is the number 0.5 and must be text"),
        ({"name": "{{ i }}", "for_each": {"i": [None]}}, "for_each.i.0", "is None and must be text"),
        ({"for_each": {"a b": [1]}}, "for_each.a b", "'a b' is no name that a template can use"),
        ({"for_each": []}, "for_each", "must map names to lists"),
        ({"for_each": {"i": "1..99999", "j": "1..99999"}}, "for_each", "gives 9999800001 streams"),
        ({"uuid": str(UUID_), "moved_from": "a/b"}, "moved_from", "is not needed where the uuid is named"),
        ({"moved_from": "c/n"}, "moved_from", "move in two steps"),
    ],
)
def test_one_fault(fields: dict[str, Any], field: str, said: str) -> None:
    found = faults(entry(**fields), "json")
    assert [one[:2] for one in found if said in one[2]] == [(1, field)], found


def test_no_fault_of_an_entry_hides_another() -> None:
    text = """streams:
- {collection: "", name: 5, unit: "{{ q }}", colour: red, generation: -1,
   annotations: {a: "{{ r }}", b: 1, "": x, c: fine}}
- {collection: c, name: "{{ i }}", for_each: {i: [01, yes, 2024-01-01]}}
"""
    assert sorted((field, message.partition(";")[0]) for _, field, message in faults(text)) == [
        ("annotations.", "the key is empty"),
        ("annotations.a", "'{{ r }}': 'r' is undefined"),
        ("annotations.b", 'is the number 1 and must be text: write "1"'),
        ("collection", "is empty"),
        ("colour", "there is no such field"),
        ("for_each.i.0", 'is the number 01 and must be text: write "01"'),
        ("generation", "is -1 and must be a whole number, 0 or more"),
        ("name", 'is the number 5 and must be text: write "5"'),
        ("unit", "'{{ q }}': 'q' is undefined"),
    ]


def test_two_rows_may_not_mean_one_stream() -> None:
    text = f"""streams:
- {{collection: c, name: n}}
- {{collection: c, name: n, unit: V}}
- {{collection: c, name: m, uuid: {UUID_}}}
- {{collection: d, name: m, uuid: {UUID_}}}
- {{collection: e, name: x, moved_from: old/x}}
- {{collection: e, name: y, moved_from: old/x}}
- {{collection: e, name: z, moved_from: c/n}}
"""
    assert faults(text) == [
        (3, "", "line 2 means the same stream: c/n"),
        (5, "uuid", f"line 4 has the same: {UUID_}"),
        (7, "moved_from", "line 6 comes from old/x too"),
        (8, "moved_from", "line 2 is at c/n: move in two steps"),
    ]
    derived = parse_spec("streams: [{collection: c, name: n}]", "yaml").streams[0]
    named = derived.new_uuid(parse_spec("streams: []", "yaml").namespace)
    rows = [{"collection": "c", "name": "n"}, {"collection": "c", "name": "m", "uuid": named}]
    with pytest.raises(SpecError, match="rows, row 1: row 2 names the uuid that it would get"):
        spec_from_rows(rows)


def test_an_entry_that_stands_for_many_streams_has_a_fault_once() -> None:
    text = "streams:\n- {collection: c, name: 'n{{ i }}', unit: 5, for_each: {i: 1..50}}\n"
    assert [fault[:2] for fault in faults(text)] == [(2, "unit")]


def test_streams_that_an_entry_does_not_tell_apart_are_one_fault() -> None:
    text = "streams:\n- {collection: c, name: n, for_each: {i: 1..50}}\n"
    assert faults(text) == [(2, "", "line 2 means the same stream: c/n")]


def test_every_entry_of_a_line_has_its_faults() -> None:
    text = json.dumps({"streams": [{"collection": "c", "name": 1}, {"collection": "c", "name": 2}]})
    assert [message for _, _, message in faults(text, "json")] == [
        'is the number 1 and must be text: write "1"',
        'is the number 2 and must be text: write "2"',
    ]


def test_annotations_of_defaults_come_together_key_by_key() -> None:
    text = "defaults: {annotations: {a: file, b: file}}\nstreams: [{collection: c, name: n, annotations: {b: entry}}]"
    spec = parse_spec(text, "yaml", defaults={"annotations": {"a": "given", "c": "given"}})
    assert spec.streams[0].annotations == (("a", "file"), ("b", "entry"), ("c", "given"))


def test_a_fault_of_the_defaults_is_told_where_they_stand() -> None:
    text = "streams:\n- {collection: c, name: n}\n- {collection: c, name: m}\ndefaults:\n  annotations:\n    k: 7\n"
    assert [fault[:2] for fault in faults(text)] == [(6, "defaults.annotations.k")]
    assert [fault[:2] for fault in faults("streams: []\ndefaults:\n  unut: x\n")] == [(3, "defaults.unut")]


@pytest.mark.parametrize(
    ("text", "kind", "line", "said"),
    [
        ("streams:\n- a: [\n", "yaml", 3, "no YAML"),
        ("streams:\n- {collection: c,\n   name: n,\n   name: m}\n", "yaml", 4, "stands there twice"),
        ("streams: [!!python/object:os.system {}]", "yaml", 1, "could not determine a constructor"),
        ("a: &a [*a, *a]\nstreams: []\n", "yaml", 1, "larger than any memory"),
        ('{"streams": [\n{"collection": "c",\n"name": "n", "name": "m"}]}', "json", 3, "stands there twice"),
        ('{"streams": [\n}', "json", 2, "no JSON"),
        ("[" * 100_000, "json", 0, "nested too deeply"),
        ('{"streams": ' + "9" * 5000 + "}", "json", 0, "a number has too many digits"),
        ("[" * 100_000, "yaml", 0, "no YAML"),
        ("[]", "yaml", 1, "must be a mapping"),
        ("{}", "yaml", 1, "is missing"),
        ("", "csv", 1, "no line of column names"),
        ("collection,nam\n", "csv", 1, "did you mean 'name'?"),
        ("collection,name,name\n", "csv", 1, "two columns have this name"),
        ('collection,name\na,"b\n', "csv", 2, "no CSV"),
        ("collection,name\na,b,c\n", "csv", 2, "has more cells"),
        ("collection,name\n\n\na\n", "csv", 4, "has fewer cells"),
        ('collection,name\n"a\nb",c\nd,\n', "csv", 4, "is missing"),
        ("collection,name,annotations\na,b,[1]\n", "csv", 2, "must be a mapping"),
        ('collection,name,annotations\na,b,"{""k"":""1"",""k"":""2""}"\n', "csv", 2, "must be a mapping"),
        ('collection,name,annotations,annotations.k\na,b,"{""k"": ""1""}",2\n', "csv", 2, "column `annotations` too"),
        ("collection,name\na," + "b" * 200_000 + "\n", "csv", 2, "no CSV: field larger than field limit"),
    ],
)
def test_files_that_are_none(text: str, kind: str, line: int, said: str) -> None:
    found = faults(text, kind)
    assert [one for one in found if one[0] == line and said in one[2]], found


def test_a_file_without_its_list_is_told_what_is_missing() -> None:
    assert faults("prefixes: [a]\n") == [(1, "streams", "is missing")]
    assert faults("streams:\n") == [(1, "streams", "is missing")]
    assert faults("streams: 5\n") == [(1, "streams", "must be a list")]


def test_what_is_nested_too_deeply_is_told() -> None:
    deep = "[" * 900 + "]" * 900
    text = entry(annotations={"k": "deep"}).replace('"deep"', deep)
    assert faults(text, "json") == [(0, "", "nested too deeply")]


def test_aliases_that_explode_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "larger than any memory" in faults("\n".join([*lines, "streams: []"]))[0][2]


def test_twenty_faults_in_ten_thousand_lines() -> None:
    """Each of another kind; all are told at once, with their lines."""
    wrong = [
        "{collection: g, nam: a}",
        "{collection: g, name: a, unit: 5}",
        "{collection: g, name: b, annotations: {k: 1.5}}",
        "{collection: g, name: c, annotations: {k: no}}",
        "{collection: g, name: d, annotations: {k: 2024-02-30}}",
        "{collection: '', name: e}",
        "{name: f}",
        "{collection: g, name: g, uuid: x}",
        "{collection: g, name: h, generation: -3}",
        "{collection: g, name: i, moved_from: i}",
        "{collection: g, name: j, owns: everything}",
        "{collection: g, name: k, ignore_changes: [units]}",
        "{collection: g, name: l, prevent_destroy: 1}",
        "{collection: g, name: 'm{{ bus }}'}",
        "{collection: g, name: 'n{{', unit: V}",
        "{collection: g, name: o, for_each: {i: none}}",
        "just text",
        "{collection: grid/7, name: s7, unit: A}",
        "{collection: g, name: p, uniit: V}",
        f"{{collection: {'x' * 300}, name: q}}",
    ]
    lines = ["streams:", *(f"- {{collection: grid/{n}, name: s{n}, unit: V}}" for n in range(10_000 - 1))]
    at = [500 * (number + 1) for number in range(len(wrong))]
    for line, text in zip(at, wrong, strict=True):
        lines[line - 1] = f"- {text}"
    found = faults("\n".join(lines))
    assert len(lines) == 10_000
    assert sorted({line for line, _, _ in found}) == at
    assert len(found) == 21  # the first one lacks a name besides


def test_an_error_with_faults_travels() -> None:
    with pytest.raises(SpecError) as caught:
        parse_spec("streams: [{collection: c, name: 5}]", "yaml")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.faults, str(again)) == (caught.value.faults, str(caught.value))


@pytest.mark.parametrize("kind", ["yaml", "json"])
def test_a_large_file_takes_little_more_than_its_streams(kind: Any) -> None:
    """YAML's tree of these entries alone would take 15 MB."""
    rows = [{"collection": f"c{n // 13}", "name": f"s{n}", "unit": "V", "annotations.bus": f"{n}"} for n in range(2000)]
    text = print_spec(spec_from_rows(rows), kind)
    tracemalloc.start()
    try:
        spec = parse_spec(text, kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(spec.streams) == 2000
    assert peak < 6_000_000


def test_anchors_aliases_and_merges_mean_what_they_mean() -> None:
    text = """
streams:
- &first {collection: c, name: a, annotations: &notes {k: x}}
- {<<: *first, name: b}
- {collection: c, name: d, annotations: {<<: *notes, l: y}}
- {collection: c, name: e, annotations: *notes}
"""
    streams = parse_spec(text, "yaml").streams
    assert [stream.name for stream in streams] == ["a", "b", "d", "e"]
    assert [dict(stream.annotations) for stream in streams] == [
        {"k": "x"},
        {"k": "x"},
        {"k": "x", "l": "y"},
        {"k": "x"},
    ]
    assert "second document" in faults("streams: []\n---\nstreams: []\n")[0][2]
