"""Laws of points: a server with real chunks and versions against a list of points that a child could keep."""

from __future__ import annotations

import itertools
import uuid

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from airflow_provider_btrdb.devserver import chunks, writes
from airflow_provider_btrdb.testing.fixtures import btrdb_devserver  # noqa: F401
from airflow_provider_btrdb.testing.wire import WireClient
from airflow_provider_btrdb.wire import btrdb_v5_pb2 as pb

SPAN = 400
TIMES = st.integers(-SPAN, SPAN - 1)
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.5, -3.0])
POINTS = st.lists(st.tuples(TIMES, VALUES), min_size=1, max_size=40)
POLICIES = st.sampled_from([pb.NEVER, pb.EQUAL, pb.RETAIN, pb.REPLACE])


def merged(old, new, policy):
    """The definition: one point after the other, nothing clever."""
    out = list(old)
    if policy == pb.NEVER:
        out += new
    elif policy == pb.EQUAL:
        for point in new:
            if point not in out:
                out.append(point)
    elif policy == pb.RETAIN:
        for time, value in new:
            if time not in {t for t, _ in out}:
                out.append((time, value))
    else:
        for time, value in new:
            out = [point for point in out if point[0] != time]
            out.append((time, value))
    return sorted(out, key=lambda point: point[0])


def window_rows(points, start, end, width, origin):
    rows = []
    grouped: dict[int, list[float]] = {}
    for time, value in points:
        if start <= time < end:
            grouped.setdefault(origin + (time - origin) // width * width, []).append(value)
    for time, values in sorted(grouped.items()):
        array = np.array(values)
        rows.append((time, array.min(), array.mean(), array.max(), len(values), array.std()))
    return rows


class Streams(RuleBasedStateMachine):
    """One stream, all its versions, and what every read must say about them."""

    wire: WireClient

    @initialize()
    def create(self):
        self.uuid = uuid.uuid4().bytes
        self.wire.call("Create", pb.CreateParams(uuid=self.uuid, collection=f"law/{self.uuid.hex()}"))
        self.versions = {10: []}
        self.current = 10

    def commit(self, points, version):
        self.current += 1
        assert version == self.current
        self.versions[version] = points

    @rule(points=POINTS, policy=POLICIES)
    def insert(self, points, policy):
        values = [pb.RawPoint(time=time, value=value) for time, value in points]
        answer = self.wire.call("Insert", pb.InsertParams(uuid=self.uuid, merge_policy=policy, values=values))
        assert not answer.HasField("stat")
        self.commit(merged(self.versions[self.current], points, policy), answer.version_major)

    @rule(start=TIMES, length=st.integers(1, SPAN))
    def delete(self, start, length):
        answer = self.wire.call("Delete", pb.DeleteParams(uuid=self.uuid, start=start, end=start + length))
        assert not answer.HasField("stat")
        kept = [point for point in self.versions[self.current] if not start <= point[0] < start + length]
        self.commit(kept, answer.version_major)

    @rule()
    def many_small_inserts(self):
        for offset in range(10):
            time = SPAN + 10 * self.current + offset
            answer = self.wire.call(
                "Insert", pb.InsertParams(uuid=self.uuid, values=[pb.RawPoint(time=time, value=float(offset))])
            )
            self.commit(merged(self.versions[self.current], [(time, float(offset))], pb.NEVER), answer.version_major)

    def read(self, version, start=-SPAN, end=100 * SPAN):
        pages = self.wire.call(
            "RawValues", pb.RawValuesParams(uuid=self.uuid, start=start, end=end, version_major=version)
        )
        assert {page.version_major for page in pages} == {version or self.current}
        return [(point.time, point.value) for page in pages for point in page.values]

    @invariant()
    def the_newest_is_right(self):
        assert self.read(0) == self.versions[self.current]

    @rule(data=st.data(), start=TIMES, length=st.integers(1, SPAN))
    def any_version_is_right(self, data, start, length):
        version = data.draw(st.sampled_from(sorted(self.versions)))
        expected = [point for point in self.versions[version] if start <= point[0] < start + length]
        assert self.read(version, start, start + length) == expected

    @rule(time=TIMES, backward=st.booleans())
    def nearest(self, time, backward):
        answer = self.wire.call("Nearest", pb.NearestParams(uuid=self.uuid, time=time, backward=backward))
        points = self.versions[self.current]
        found = [p for p in points if p[0] < time][-1:] if backward else [p for p in points if p[0] >= time][:1]
        if found:
            assert (answer.value.time, answer.value.value) == found[0]
        else:
            assert answer.stat.code == 401

    @rule(width=st.integers(0, 12), start=TIMES, length=st.integers(1, 2 * SPAN))
    def aligned_windows(self, width, start, length):
        pages = self.wire.call(
            "AlignedWindows",
            pb.AlignedWindowsParams(uuid=self.uuid, start=start, end=start + length, point_width=width),
        )
        first, last = start >> width << width, (start + length) >> width << width
        self.same_windows(pages, window_rows(self.versions[self.current], first, last, 1 << width, 0))

    @rule(width=st.integers(1, 2 * SPAN), start=TIMES, length=st.integers(1, 2 * SPAN))
    def windows(self, width, start, length):
        pages = self.wire.call(
            "Windows", pb.WindowsParams(uuid=self.uuid, start=start, end=start + length, width=width)
        )
        last = start + length // width * width
        self.same_windows(pages, window_rows(self.versions[self.current], start, last, width, start))

    def same_windows(self, pages, expected):
        rows = [row for page in pages for row in page.values]
        assert [(r.time, r.min, r.max, r.count) for r in rows] == [(e[0], e[1], e[3], e[4]) for e in expected]
        assert [r.mean for r in rows] == pytest.approx([e[2] for e in expected])
        assert [r.stddev for r in rows] == pytest.approx([e[5] for e in expected], abs=1e-12)

    @rule(data=st.data(), resolution=st.integers(0, 8))
    def changes_cover_the_difference(self, data, resolution):
        before, after = sorted(data.draw(st.tuples(*[st.sampled_from(sorted(self.versions))] * 2)))
        pages = self.wire.call(
            "Changes",
            pb.ChangesParams(uuid=self.uuid, from_major=before, to_major=after, resolution=resolution),
        )
        ranges = [(r.start, r.end) for page in pages for r in page.ranges]
        assert all(start < end for start, end in ranges)
        assert all(start % (1 << resolution) == 0 and end % (1 << resolution) == 0 for start, end in ranges)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(ranges))
        old, new = self.versions[before], self.versions[after]
        differing = {t for t, _ in old + new if [p for p in old if p[0] == t] != [p for p in new if p[0] == t]}
        assert all(any(start <= t < end for start, end in ranges) for t in differing)
        if before == after:
            assert ranges == []


def test_points_behave_like_a_list_of_points(btrdb_devserver, monkeypatch):  # noqa: F811
    # Small chunks, so that a few hundred points are split, fused and cut as millions would be.
    monkeypatch.setattr(chunks, "CHUNK_POINTS", 64)
    monkeypatch.setattr(chunks, "CLASSES", (0, 4, 16, 32))
    monkeypatch.setattr(chunks, "FAN_OUT", 3)
    monkeypatch.setattr(writes, "SEGMENT", 4)
    with WireClient(btrdb_devserver.endpoint) as wire:
        machine = type("Machine", (Streams,), {"wire": wire})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=25,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
