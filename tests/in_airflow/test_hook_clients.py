"""Which Airflow connections share a BTrDB connection, case by case and without one."""

from __future__ import annotations

from dataclasses import replace

from airflow_provider_btrdb.client.config import ConnectionConfig
from airflow_provider_btrdb.hooks.clients import Credentials, SharedClients, place_of

HERE = ConnectionConfig(endpoint="localhost:4410", api_key="one")
TWO = replace(HERE, api_key="two")
THREE = replace(HERE, api_key="three")
ELSEWHERE = replace(TWO, endpoint="localhost:9")


class Opened:
    """What a client remembers of its keys."""

    def __init__(self, config: ConnectionConfig, credentials: Credentials) -> None:
        self.config, self.credentials = config, credentials
        self.keys = [config.api_key]

    def use_api_key(self, api_key: str | None) -> None:
        self.keys.append(api_key)


def test_one_for_each_place_and_key() -> None:
    shared = SharedClients(Opened)
    one = shared.get("a", HERE)
    assert shared.get("b", HERE) is one
    assert shared.get("c", TWO) is not one
    assert shared.get("d", ELSEWHERE) is not shared.get("c", TWO)
    assert shared.get("e", replace(HERE, request_timeout=1)) is not one
    assert one.credentials.conn_ids == {"a", "b"}


def test_the_only_user_takes_the_connection_along_to_a_new_key() -> None:
    shared = SharedClients(Opened)
    one = shared.get("a", HERE)
    assert shared.get("a", TWO) is one
    assert one.keys == ["one", "two"]
    assert shared.get("a", HERE) is one  # read before the change: it is not turned back
    assert one.keys == ["one", "two"]
    assert shared.get("b", TWO) is one


def test_of_two_users_the_other_keeps_its_key() -> None:
    shared = SharedClients(Opened)
    one = shared.get("a", HERE)
    shared.get("b", HERE)
    two = shared.get("a", TWO)
    assert two is not one
    assert (one.keys, one.credentials.conn_ids) == (["one"], {"b"})
    assert shared.get("b", TWO) is two  # and the first is of no use to anybody
    assert two.credentials.conn_ids == {"a", "b"}
    assert shared.get("c", HERE) is not one


def test_after_a_refusal_the_changed_connections_go_on() -> None:
    mine = Credentials(place=place_of(HERE), api_key="one", conn_ids={"a", "b", "c", "d"})
    assert mine.newest({"a": HERE, "b": None, "c": ELSEWHERE, "d": HERE}) == "one"
    assert mine.conn_ids == {"a", "b", "c", "d"}
    assert mine.newest({"a": HERE, "b": TWO, "c": ELSEWHERE, "d": TWO}) == "two"
    assert (mine.conn_ids, mine.former) == ({"b", "d"}, {"one"})
    assert mine.newest({"b": HERE, "d": TWO}) == "one"  # changed back: by the connection, not by what is remembered
    assert (mine.conn_ids, mine.former) == ({"b"}, {"two"})


def test_a_connection_that_left_can_come_back() -> None:
    shared = SharedClients(Opened)
    one = shared.get("a", HERE)
    shared.get("b", HERE)
    assert one.credentials.newest({"a": TWO, "b": HERE}) == "two"
    other = shared.get("b", HERE)
    assert other is not one
    assert shared.get("b", TWO) is one
    assert one.credentials.conn_ids == {"a", "b"}
    assert shared.get("b", THREE).keys == ["three"]
