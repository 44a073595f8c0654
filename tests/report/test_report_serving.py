"""The server of a report: fixed addresses, this computer alone, nothing of the disk."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from camaudit.errors import UsageError
from camaudit.report.reading import Run
from camaudit.report.serving import LOOPBACK, ReportServer, server
from camaudit.report.writing import write_results
from tests.benchmarks.report import kept_run, many_results
from tests.browser import chromium
from tests.report.page import Page

COUNT = 25


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReportServer]:
    folder = tmp_path_factory.mktemp("run")
    results = many_results(COUNT)
    write_results(results, folder)
    with kept_run(COUNT, folder, methods=5) as maps, server(Run(folder, results, maps)) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def asked(
    started: ReportServer, path: str, *, host: str | None = None, method: str = "GET"
) -> tuple[int, bytes, dict[str, str]]:
    connection = HTTPConnection(LOOPBACK, started.port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", started.hosts[0] if host is None else host)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.headers)
    connection.close()
    return found


def test_the_report_asks_for_its_images(started: ReportServer) -> None:
    status, body, headers = asked(started, "/")
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    page = Page(body.decode())
    assert page.policy()["connect-src"] == "'self'"
    index = json.loads(next(text for text in page.raw["script"] if text.startswith("{")))
    assert (index["served"], len(index["images"])) == (True, COUNT)
    assert not page.having("id", "explorer-part-0")
    parts = [json.loads(asked(started, f"/parts/{number}.json")[1]) for number in range(2)]
    assert [len(part) for part in parts] == [20, 5]
    assert len(parts[0][0]["maps"]) == len(parts[0][0]["unmasked"]) == len(index["methods"])
    assert page.having("id", "explorer-model")
    assert json.loads(asked(started, "/results.json")[1])["schema"] == 1


@pytest.mark.parametrize(
    "path",
    ["/../results.json", "/maps/index.json", "/parts/2.json", "/parts/-1.json", "/parts/01.json",
     "/parts/٣.json".encode().decode("latin-1"), "/parts/0.json?x", "/index.html",
     "/parts/../../../etc/passwd", "http://elsewhere/", "*"],
)  # fmt: skip
def test_everything_else_is_not_there(started: ReportServer, path: str) -> None:
    assert asked(started, path.encode("ascii", "ignore").decode())[0] == 404


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "", "localhost:1", "[::1]:80"])
def test_other_hosts_are_refused(started: ReportServer, host: str) -> None:
    for path in ("/", "/results.json", "/parts/0.json"):
        assert asked(started, path, host=host)[0] == 421
    assert asked(started, "/", host=f"localhost:{started.port}")[0] == 200


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("POST", 501), ("PUT", 501)])
def test_it_can_only_be_read(started: ReportServer, method: str, status: int) -> None:
    found, body, headers = asked(started, "/", method=method)
    assert found == status
    assert method != "HEAD" or body == b""
    assert status != 200 or headers["X-Content-Type-Options"] == "nosniff"


def test_it_listens_to_this_computer_alone(started: ReportServer) -> None:
    assert started.socket.getsockname()[0] == "127.0.0.1"
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        with pytest.raises(UsageError, match=r"cannot be used \(.*\): give another one"):
            server(Run(Path(), many_results(1), None), port=taken.getsockname()[1])


def test_damaged_maps_are_said_to_be_so(tmp_path: Path) -> None:
    results = many_results(2)
    write_results(results, tmp_path)
    with kept_run(2, tmp_path, methods=3) as maps, server(Run(tmp_path, results, maps)) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        maps._last = (-1, b"")
        for part in tmp_path.glob(".maps*/*.bin"):
            part.write_bytes(b"")
        status, body, _ = asked(made, "/parts/0.json")
        made.shutdown()
        thread.join()
    assert (status, b"run camaudit run again" in body) == (500, True)


def test_a_browser_shows_any_image(started: ReportServer) -> None:
    noise: list[Any] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("pageerror", lambda error: noise.append(error))
        page.on("console", lambda message: noise.append(message.text))
        page.goto(started.url + "#image=image-22&model=unmasked")
        page.wait_for_selector("#explorer-views canvas")
        assert "unmasked μ" in page.locator("#explorer-views .method + span").nth(1).inner_text()
        assert page.locator("#explorer-image").inner_text() == "image 22"
        page.close()
    assert noise == []
