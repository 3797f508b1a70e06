"""The way to a server, one step at a time and without gRPC: its name, its port, a proxy in between, TLS.

gRPC says "unavailable" for all of them; these steps say which. Nothing here sends the API key.
"""

from __future__ import annotations

import base64
import os
import queue
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from airflow_provider_btrdb.client.config import ConnectionConfig, is_loopback

Address = tuple[str, int]
LONGEST_ANSWER = 8192
"""Bytes that a proxy may take to answer."""


class Problem(Exception):
    """What is wrong, in one sentence; `lasting` where trying again cannot help."""

    def __init__(self, sentence: str, *, lasting: bool) -> None:
        super().__init__(sentence)
        self.lasting = lasting


class Clock:
    """How much is left of the seconds that a whole check may take."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, always more than 0, so that every wait has a limit."""
        return max(self._end - time.monotonic(), 0.01)


@dataclass(frozen=True, slots=True)
class Proxy:
    """An HTTP proxy; the password is never shown."""

    address: Address
    source: str
    authorization: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        return f"the proxy {self.address[0]}:{self.address[1]} (from {self.source})"


def proxy_for(config: ConnectionConfig, host: str) -> Proxy | None:
    """The proxy that gRPC takes on the way to the host, by its own rules. Raises Problem if it cannot use one."""
    if config.proxy == "off" or is_loopback(host):
        return None
    url, source = config.proxy, "the setting proxy"
    if url == "environment":
        source = next((name for name in ("grpc_proxy", "https_proxy", "http_proxy") if os.environ.get(name)), "")
        excluded = next((os.environ[name] for name in ("no_grpc_proxy", "no_proxy") if os.environ.get(name)), "")
        if not source or any(host.endswith(name.strip()) for name in excluded.split(",") if name.strip()):
            return None
        url = os.environ[source]
    try:
        parts = urlsplit(url)
        name, port = parts.hostname, parts.port or 443
    except ValueError:
        name = None
    if not name or parts.scheme != "http":
        if config.proxy == "environment":
            return None  # gRPC leaves it out as well
        raise Problem("the setting proxy is no URL of an HTTP proxy", lasting=True)
    login = None
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        login = "Basic " + base64.b64encode(pair.encode()).decode()
    return Proxy((name, port), source, login)


def resolve(host: str, clock: Clock) -> list[str]:
    """The addresses of a host. Raises Problem when the name is unknown or nobody tells in time."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    # The system's own patience with a name server that does not answer is longer than ours, and cannot be set.
    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=clock.left())
    except queue.Empty:
        raise Problem(f"DNS does not answer for {host!r} in time", lasting=False) from None
    if isinstance(answer, UnicodeError):
        raise Problem(f"{host!r} is no name of a host", lasting=True)
    if isinstance(answer, OSError):
        raise Problem(f"DNS does not know the host {host!r} ({answer.strerror})", lasting=False)
    return list(dict.fromkeys(str(found[4][0]) for found in answer))


def reach(address: Address, clock: Clock) -> socket.socket:
    """A connection to a host and port. Raises Problem saying how that failed."""
    shown = f"{address[0]}:{address[1]}"
    try:
        return socket.create_connection(address, timeout=clock.left())
    except ConnectionRefusedError:
        raise Problem(f"{shown} refuses the connection: nothing listens there", lasting=False) from None
    except TimeoutError:
        raise Problem(
            f"{shown} does not answer in time: a firewall may be in between, or the address is wrong", lasting=False
        ) from None
    except OSError as error:
        raise Problem(f"{shown} cannot be reached: {error.strerror or error}", lasting=False) from None


def tunnel(proxy: Proxy, address: Address, clock: Clock) -> socket.socket:
    """A connection through the proxy, as CONNECT gives it. Raises Problem with the proxy's words."""
    try:
        plain = reach(proxy.address, clock)
    except Problem as problem:
        raise Problem(f"{proxy}: {problem}", lasting=problem.lasting) from None
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    login = f"Proxy-Authorization: {proxy.authorization}\r\n" if proxy.authorization else ""
    request = f"CONNECT {host}:{address[1]} HTTP/1.1\r\nHost: {host}:{address[1]}\r\n{login}\r\n"
    answer = b""
    try:
        plain.sendall(request.encode("ascii", "replace"))
        while b"\r\n\r\n" not in answer and len(answer) < LONGEST_ANSWER:
            plain.settimeout(clock.left())
            more = plain.recv(1024)
            if not more:
                break
            answer += more
    except OSError as error:
        plain.close()
        raise Problem(f"{proxy} does not answer: {error.strerror or error}", lasting=False) from None
    first = answer.split(b"\r\n", 1)[0].decode("latin-1")
    words = first.split(" ", 2)
    if len(words) < 2 or words[1] != "200":
        plain.close()
        raise Problem(f"{proxy} refuses to connect to {host}:{address[1]}: {first or 'no answer'}", lasting=False)
    return plain
