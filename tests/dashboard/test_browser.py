from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import chromium, free_port
from tests.dashboard.files import room, run, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.slow
pytest.importorskip("streamlit")
REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE_S = 30


def until(found: Callable[[], Any]) -> Any:
    """Return the first true value of ``found``, which may fail while a page is drawn anew."""
    last: object = None
    for _ in range(PATIENCE_S * 10):
        try:
            last = found()
        except Exception as error:
            last = error
        if last and not isinstance(last, Exception):
            return last
        time.sleep(0.1)
    pytest.fail(f"not seen within {PATIENCE_S} s: {last!r}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """Yield the address of ``perfkit dashboard`` over a filled folder, and end it by SIGTERM."""
    port = free_port()
    code = "from perfkit.cli import main; main()"
    command = [sys.executable, "-c", code, "dashboard", str(room(tmp_path / "r")), "--headless",
               "--port", str(port)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: urllib.request.urlopen(f"{url}/_stcore/health", timeout=5).status == 200)  # noqa: S310
        yield url
    finally:
        process.terminate()
        process.wait(timeout=30)
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port)):
        pass


class Page:
    """The dashboard as a person has it: words to click, boxes to type into."""

    def __init__(self, browser: Any, url: str) -> None:
        self.page = browser.new_context(viewport={"width": 1500, "height": 1300}).new_page()
        self.errors: list[str] = []
        self.asked: set[str] = set()
        self.page.on("console", lambda told: told.type == "error" and self.errors.append(told.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        for event in ("request", "websocket"):
            self.page.on(event, lambda asked: self.asked.add(asked.url))
        self.page.goto(url)

    def all(self, css: str) -> list[Any]:
        return list(self.page.locator(css).all())

    def go(self, name: str) -> None:
        self.page.locator("[data-testid=stTopNavLink]").get_by_text(name, exact=True).click()

    def sees(self, words: str) -> None:
        until(lambda: words in self.page.inner_text("body"))

    def table(self) -> list[list[str]]:
        """Return the texts of the first table, which its canvas has for those who do not see."""
        grid = self.page.locator("[data-testid=stDataFrame] canvas table").first
        return [row.locator("td").all_text_contents() for row in grid.locator("tbody tr").all()]

    def charts(self) -> int:
        return len(self.all("[data-testid=stVegaLiteChart] svg.marks"))


def test_a_person_compares_filters_and_uploads(served: str, tmp_path: Path) -> None:
    with chromium() as browser:
        page = Page(browser, served)
        page.sees("perfkit results")
        page.sees("4 files cannot be shown")
        until(lambda: page.charts() == 1)

        page.go("Compare")
        page.sees("Compare two result files")
        ratios = until(lambda: {row[0].split("/")[3:5][0]: row[3] for row in page.table()})
        assert ratios["nofmha"] == "1"
        assert len(until(page.table)) == 4
        box = page.all("[data-testid=stTextInput] input")[0]
        box.fill("b32/")
        box.press("Enter")
        until(lambda: len(page.table()) == 1)

        other = write(tmp_path / "elsewhere/mine.json", run(day=9, rate=240.0))
        page.all("input[type=file]")[0].set_input_files(str(other))
        page.sees("mine.json")
        until(lambda: page.table()[0][3] == "2")
        assert page.charts() == 1

        for name, title in (("History", "History of a cell"), ("Pareto", "Throughput against"),
                            ("Fused attention", "What fused attention changes"),
                            ("Batching", "Request batching")):  # fmt: skip
            page.go(name)
            page.sees(title)
            until(page.charts)
        assert page.errors == []
        hosts = {url.split("/")[2] for url in page.asked if not url.startswith(("data:", "blob:"))}
        assert hosts == {served.split("/")[2]}
