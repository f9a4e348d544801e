from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from perfkit.paths import demo_results
from perfkit.reporting.page.gathering import gather
from perfkit.reporting.page.pictures import has_charts
from perfkit.reporting.page.writing import page
from tests.browser import chromium
from tests.reporting.documents import cell, document, matrix
from tests.reporting.page.test_writing import HOSTILE, RTL, gathered
from tests.reporting.test_profiling import profiled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


class Opened:
    """A page opened from a file with the network off, and all that it complained of."""

    def __init__(self, browser: Any, folder: Path, text: str, **more: Any) -> None:
        path = folder / "report.html"
        path.write_text(text, encoding="utf-8")
        self.page = browser.new_context(offline=True, **more).new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda told: self.complaints.append(told.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda asked: self.asked.append(asked.url))
        self.page.goto(path.as_uri())

    def charts(self) -> int:
        """Wait until the charts are drawn; return how many there are."""
        self.page.wait_for_selector("body[data-charts=done]", state="attached")
        return int(self.page.locator(".chart[data-drawn=yes] svg.marks").count())

    def check(self) -> None:
        """Assert that nothing was complained of, and nothing asked of the network."""
        assert self.complaints == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:"))] == []


def needs_charts() -> None:
    if not has_charts():
        pytest.skip("needs the extra report")


def test_every_chart_of_the_demo_is_drawn_without_a_network(browser: Any, tmp_path: Path) -> None:
    needs_charts()
    text = page(gather(demo_results()), interactive=True)
    opened = Opened(browser, tmp_path, text)
    assert opened.charts() == text.count('class="spec"') >= 9
    opened.check()
    assert opened.page.locator(".chart[data-drawn=no]").count() == 0
    marked = opened.page.locator(".synthetic .chart")
    assert marked.count() >= 2
    assert all("SYNTHETIC" in words for words in marked.all_inner_texts())


def test_profiled_cells_have_their_charts(browser: Any, tmp_path: Path) -> None:
    needs_charts()
    cells = []
    for backend in ("torch-eager", "torch-compile"):
        name, body = cell(backend, batch=1)
        told = profiled()
        body["metrics"] |= told["metrics"]
        body |= {"profile": told["profile"]}
        cells.append((name, body))
    text = page(gathered(document(*cells)), interactive=True)
    opened = Opened(browser, tmp_path, text)
    labels = [one.get_attribute("aria-label") for one in opened.page.locator(".chart").all()]
    assert opened.charts() == len(labels) == text.count('class="spec"')
    opened.check()
    assert "Where the time goes" in opened.page.inner_text("main")


@pytest.mark.parametrize("interactive", [False, True])
def test_hostile_names_run_nothing_and_are_read_as_text(
    browser: Any, tmp_path: Path, interactive: bool
) -> None:
    if interactive:
        needs_charts()
    bodies = [cell(attention="nofmha"), cell(), cell("torch-compile")]
    for (_, body), name in zip(bodies, (HOSTILE, RTL, "x" * 10_000), strict=True):
        body["case"]["model"] = name
        body["case"]["attention"] = name
        body["reason"] = name
        body["verdict"] = "unstable"
    made = document(
        *((body["case"]["model"], body) for _, body in bodies),
        machine={"key": HOSTILE, "name": HOSTILE, "fields": {}}, session={"command": HOSTILE},
    )  # fmt: skip
    opened = Opened(browser, tmp_path, page(gathered(made), interactive=interactive))
    if interactive:
        opened.charts()
    opened.check()
    assert opened.page.evaluate("window.hacked") is None
    assert opened.page.locator("img").count() == 0
    for name in (HOSTILE, RTL, "x" * 10_000):
        assert opened.page.locator("td.name", has_text=name).count() >= 1


def test_a_click_sorts_and_a_script_that_is_not_its_own_does_not_run(
    browser: Any, tmp_path: Path
) -> None:
    text = page(gathered(matrix(("torch-eager",), ("bf16",))), interactive=False)
    opened = Opened(browser, tmp_path, text.replace("</body>", "<script>hacked=1</script></body>"))
    assert opened.page.evaluate("window.hacked") is None
    assert ["Content Security Policy" in told for told in opened.complaints] == [True]
    table = opened.page.locator("#measured-verdicts table")
    heads = table.locator("th").all_inner_texts()
    at = heads.index("TTFT ms")
    table.locator("th").nth(at).click()
    values = table.locator(f"tbody tr td:nth-child({at + 1})").all_inner_texts()
    numbers = [float(one.replace(",", "")) for one in values if one[0].isdigit()]
    assert len(numbers) > 50
    assert numbers == sorted(numbers, reverse=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(browser: Any, tmp_path: Path, scheme: str) -> None:
    text = page(gathered(document(cell(verdict="unstable"))), interactive=False)
    opened = Opened(browser, tmp_path, text, color_scheme=scheme)
    style = "(at) => { const s = getComputedStyle(document.querySelector(at)); return s.color }"
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
    for at in ("body", "header p", "nav a", "td.verdict", "figcaption"):
        assert contrast(opened.page.evaluate(style, at), ground) >= 4.5, at


def contrast(ink: str, ground: str) -> float:
    """Return WCAG's contrast ratio of two colours as a browser writes them."""

    def luminance(colour: str) -> float:
        parts = [int(x) / 255 for x in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(ink), luminance(ground)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_what_is_folded_is_open_on_paper(browser: Any, tmp_path: Path) -> None:
    opened = Opened(browser, tmp_path, page(gathered(document(cell())), interactive=False))
    folded = opened.page.locator("details:not([open])")
    assert folded.count() > 3
    opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert folded.count() == 0
    opened.page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert folded.count() > 3
