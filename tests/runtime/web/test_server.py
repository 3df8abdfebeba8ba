"""Who is answered, who is not, and what is left of it all."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from edgekit.errors import UsageError
from edgekit.runtime.web import LivePage
from edgekit.runtime.web.server import Reply, Server
from tests.html_checks import Page
from tests.runtime.web.pages import descriptors, get, processed, wait_for

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&"


@pytest.fixture
def page():
    with LivePage(0, name=HOSTILE) as made:
        yield made


def test_the_page_is_whole_and_fetches_nothing_from_elsewhere(page):
    reply, body = get(page.port, "/")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    found = Page(body.decode())
    assert found.faults == []
    assert found.count("img") == 0
    assert found.count("script") == 1
    assert found.text().count(HOSTILE) == 2  # the title and the heading
    outside = re.findall(r"[a-z]+://[^\s\"'`<>]+", body.decode())
    assert set(outside) == {"http://www.w3.org/2000/svg"}  # the name of a namespace, which nobody fetches
    assert "innerHTML" not in body.decode()


def test_style_and_script_are_those_that_the_policy_names(page):
    reply, body = get(page.port, "/")
    text, policy = body.decode(), reply.headers["Content-Security-Policy"]
    for tag in ("style", "script"):
        (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == "'none'"
    assert rules["connect-src"] == rules["img-src"] == "'self'"


@pytest.mark.parametrize("path", ["/", "/state", "/frame/9", "/nothing"])
def test_every_reply_says_who_may_read_it(page, path):
    reply, _ = get(page.port, path)
    assert reply.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Cache-Control"] == "no-store"
    assert "frame-ancestors 'none'" in reply.headers["Content-Security-Policy"]
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert reply.headers["Server"] == "edgekit"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LocalHost", "localhost:9000", "127.0.0.1:{port}"])
def test_our_own_names_are_answered_also_at_the_port_of_a_tunnel(page, host):
    assert get(page.port, "/state", Host=host.format(port=page.port))[0].status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", ""),
        *("a@127.0.0.1", "127.0.0.1:", "127.0.0.1:80x", "127a0b0c1", "localhost:8080:1", "0.0.0.0", "[::1]"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/state", "/frame/0"])
def test_a_name_that_someone_pointed_here_is_refused(page, host, path):
    page.sink(processed(np.zeros((4, 4, 3), np.uint8)))
    reply, body = get(page.port, path, Host=host.format(port=page.port))
    assert (reply.status, body) == (403, b"403 Expected the host 127.0.0.1 or localhost\n")


def raw(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while chunk := connection.recv(1 << 16):
            answer += chunk
    return answer


@pytest.mark.parametrize("hosts", [b"", b"Host: localhost\r\nHost: evil.example\r\n"])
def test_no_host_or_two_of_them_are_refused(page, hosts):
    answer = raw(page.port, b"GET /state HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_only_reading_is_allowed(page, method):
    assert get(page.port, "/state", method)[0].status == 405


def test_head_has_the_headers_of_get_and_no_body(page):
    page.sink(processed(np.zeros((4, 4, 3), np.uint8)))
    for path in ("/", "/frame/0"):
        head, nothing = get(page.port, path, "HEAD")
        found, body = get(page.port, path)
        assert nothing == b""
        assert head.status == found.status == 200
        plain = f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
        assert raw(page.port, plain).endswith(b"\r\n\r\n")
        assert head.headers["Content-Length"] == found.headers["Content-Length"] == str(len(body))


PATHS = ["/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/page.js", "/frame/", "/frame/-1", "/frame/0/"]


@pytest.mark.parametrize(
    "path",
    [*PATHS, "/frame/1", "/frame/99999999999", "/frame/٠", "/frame/0?after=-1", "/frame/0?before=1", "http://x/state"],
)
def test_there_are_no_other_paths(page, path):
    page.sink(processed(np.zeros((4, 4, 3), np.uint8)))
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    assert raw(page.port, request).startswith(b"HTTP/1.1 404 ")


def test_a_body_is_not_read_as_another_request(page):
    inside = b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = f"GET /nothing HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(inside)}\r\n\r\n".encode()
    assert raw(page.port, head + inside).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("request_", [b"\x00\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"GET\r\n\r\n", b"G" * 70000])
def test_what_is_no_request_ends_the_connection_and_nothing_else(page, request_, capfd):
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    assert get(page.port, "/state")[0].status == 200
    assert capfd.readouterr() == ("", "")


def test_a_failure_while_answering_is_one_line_and_the_next_request_is_answered(capfd):
    def answer(path: str, query: str) -> Reply:
        if path == "/bad":
            raise ValueError("no such\nthing")
        return Reply(200, data=b"good")

    server = Server(0, answer, {})
    try:
        reply, body = get(server.port, "/bad")
        assert (reply.status, body) == (500, b"ValueError: no such\n")
        assert get(server.port, "/")[1] == b"good"
    finally:
        server.close()
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_this_machine_alone(page):
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    mine = [line[1] for line in listening if line[3] == "0A" and int(line[1].split(":")[1], 16) == page.port]
    assert [address.split(":")[0] for address in mine] == ["0100007F"]
    assert page.url == f"http://127.0.0.1:{page.port}/"


def test_a_port_that_is_taken_is_one_line_and_free_again_after_close():
    with LivePage(0) as first:
        with pytest.raises(
            UsageError, match=rf"expected to listen on 127.0.0.1:{first.port}, found: .*; next: "
        ) as told:
            LivePage(first.port)
        assert "\n" not in str(told.value)
        get(first.port, "/state")  # a connection that has been used leaves its port in TIME_WAIT
    with LivePage(first.port) as again:
        assert get(again.port, "/state")[0].status == 200


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_that_is_none_is_one_line(port):
    with pytest.raises(UsageError, match=f"expected a port from 0 to 65535, found {port}"):
        LivePage(port)


def test_closing_ends_threads_connections_and_descriptors():
    threads, files = set(threading.enumerate()), descriptors()
    page = LivePage(0)
    idle = socket.create_connection(("127.0.0.1", page.port), timeout=20)  # says nothing, and would for ten seconds
    kept = socket.create_connection(("127.0.0.1", page.port), timeout=20)
    kept.sendall(b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert kept.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    wait_for(lambda: len(threading.enumerate()) == len(threads) + 3, "both connections' threads")
    page.close()
    page.close()
    assert set(threading.enumerate()) == threads
    for connection in (idle, kept):
        while connection.recv(1 << 16):
            pass
        connection.close()
    assert descriptors() == files


def test_many_at_once_are_answered(page):
    page.sink(processed(np.zeros((4, 4, 3), np.uint8)))
    found = []

    def look() -> None:
        for _ in range(10):
            found.append((get(page.port, "/state")[0].status, get(page.port, "/frame/0")[0].status))

    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(200, 200)] * 80


def test_a_browser_that_does_not_read_keeps_nobody_waiting(page):
    page.sink(processed(np.random.default_rng(0).integers(0, 255, (960, 960, 3)).astype(np.uint8)))
    request = b"GET /frame/0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as deaf:
        deaf.setblocking(False)
        with pytest.raises(BlockingIOError):  # it asks, and never reads, until nothing goes through any more
            for _ in range(10**6):
                deaf.send(request * 100)
        for number in range(20):
            page.sink(processed(np.full((8, 8, 3), number, np.uint8), number=number + 1))
            assert get(page.port, "/frame/0")[0].status == 200


def test_there_is_an_end_to_how_many_connect(page):
    crowd = [socket.create_connection(("127.0.0.1", page.port), timeout=20) for _ in range(80)]
    try:
        end = [connection for connection in crowd[70:] if connection.recv(1) == b""]
        assert len(end) == 10
        crowd[0].sendall(b"GET /state HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert crowd[0].recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    finally:
        for connection in crowd:
            connection.close()
    wait_for(lambda: sum(thread.name == "live page" for thread in threading.enumerate()) == 1, "the crowd to go")
    assert get(page.port, "/state")[0].status == 200
