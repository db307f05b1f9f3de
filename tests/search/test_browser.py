"""The page in a real browser, headless and offline: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.accounting import account
from paretoken.search.report.page import render
from paretoken.search.report.results import judge
from paretoken.search.report.view import View, look
from paretoken.spaces.records import Trial

Cli = Callable[..., Any]
MANY = 10_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="tests in a browser need pip install playwright"
    )
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("tests in a browser need chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        # Drawn and WebGL done in software, whatever the machine has; root has no sandbox.
        options = ["--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader"]
        browser = driver.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open a page, in a context of the given kind; what it complains about fails the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def opened(address: str | Path, **kind: Any) -> Any:
        context = chromium.new_context(**{"viewport": {"width": 1200, "height": 900}, **kind})
        contexts.append(context)
        if isinstance(address, Path):
            context.set_offline(True)
            address = address.absolute().as_uri()
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
        page.goto(address)
        page.wait_for_selector("#everyone tbody tr, #everyone-part[hidden]", state="attached")
        return page

    yield opened
    for context in contexts:
        context.close()
    # The live page says itself that its server is gone; the browser cannot be kept from it.
    assert [told for told in complaints if "ERR_CONNECTION_REFUSED" not in told] == []


@pytest.fixture
def report(cli: Cli, url: str) -> Path:
    assert cli("report", "demo", "--out", "report.html").code == 0
    return Path("report.html")


def over(page: Any, number: int) -> tuple[float, float]:
    """Where a candidate's point is on the screen, by the axes chosen."""
    x, y = page.evaluate(
        """number => {
          const picture = at("picture"), row = data.number.indexOf(number);
          const {xaxis, yaxis} = picture._fullLayout, box = picture.getBoundingClientRect();
          const value = name => data.quantities[name].value[row];
          const place = (axis, name) => axis._offset + axis.l2p(axis.d2l(value(name)));
          return [box.x + place(xaxis, choice.x.value), box.y + place(yaxis, choice.y.value)];
        }""",
        number,
    )
    return float(x), float(y)


def drawn(page: Any) -> set[int]:
    """The numbers of the candidates in the picture."""
    found = page.evaluate(
        "at('picture').data.flatMap(t => t.customdata || []).map(row => data.number[row])"
    )
    return set(found)


def listed(page: Any) -> list[int]:
    """The numbers in the table of all candidates, from top to bottom."""
    return [int(text) for text in page.locator("#everyone tbody td:first-child").all_inner_texts()]


def test_a_point_tells_what_it_is(visit: Any, report: Path) -> None:
    page = visit(report)
    assert drawn(page) == {0, 1, 2, 3, 4, 5, 7}
    tip = page.locator("#tip")
    assert tip.is_hidden()
    page.locator("#picture").scroll_into_view_if_needed()
    page.mouse.move(*over(page, 4))
    tip.wait_for(state="visible")
    told = tip.inner_text()
    assert "#4" in told and "grouped(size=4)" in told and "70.0 ± 1.0" in told
    page.mouse.click(*over(page, 4))
    page.wait_for_selector("#kept:not([hidden])")
    kept = page.locator("#kept")
    assert "#4" in kept.inner_text() and "paretoken export demo --candidate" in kept.inner_text()
    kept.get_by_role("button").click()
    assert kept.is_hidden()


def test_the_filter_is_followed_by_picture_and_table(visit: Any, report: Path) -> None:
    page = visit(report)
    count = page.locator("#count")
    assert count.inner_text() == "7 candidates"
    page.fill("#find", "grouped(size=2)")
    page.wait_for_function("at('count').textContent === '2 of 7 candidates'")
    assert drawn(page) == {3, 7} and listed(page) == [3, 7]
    page.select_option("#choices select[data-what=kind]", "front")
    assert drawn(page) == {3} and listed(page) == [3]
    page.click("#clear")
    assert count.inner_text() == "7 candidates" and drawn(page) == {0, 1, 2, 3, 4, 5, 7}
    page.fill("#find", "#5")
    page.wait_for_function("at('count').textContent === '1 of 7 candidates'")
    assert listed(page) == [5]
    page.fill("#find", "nothing has this")
    page.wait_for_function("at('count').textContent === '0 of 7 candidates'")
    assert drawn(page) == set() and listed(page) == []


def test_tables_sort_and_axes_change(visit: Any, report: Path) -> None:
    page = visit(report)
    assert listed(page)[0] == 4  # the fastest first
    page.click("#everyone th button[data-sort=fid]")
    assert listed(page)[-1] == 5 and listed(page)[:3] == [0, 1, 2]
    page.click("#everyone th button[data-sort=fid]")
    assert listed(page)[0] == 5
    before = over(page, 5)
    page.select_option("#y", "kid")
    page.check("#log")
    title, kind = page.evaluate(
        "[at('picture').layout.yaxis.title.text, at('picture')._fullLayout.xaxis.type]"
    )
    assert title == "KID, lower is better" and kind == "log" and over(page, 5) != before


def test_ranges_on_the_parallel_axes_are_a_filter(visit: Any, report: Path) -> None:
    page = visit(report)
    page.locator("#parallel-part").scroll_into_view_if_needed()
    page.wait_for_function("at('parallel').data !== undefined")
    page.evaluate(
        """() => {
          const range = `dimensions[${parallelAxes.indexOf("fid")}].constraintrange`;
          return Plotly.restyle(at("parallel"), {[range]: [[51, 80]]});
        }"""
    )
    page.wait_for_function("at('count').textContent === '3 of 7 candidates'")
    assert drawn(page) == {3, 4, 7}
    page.click("#clear")
    assert page.locator("#count").inner_text() == "7 candidates"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling(visit: Any, report: Path, scheme: str) -> None:
    page = visit(
        report,
        viewport={"width": 390, "height": 844},
        color_scheme=scheme,
        is_mobile=True,
        has_touch=True,
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    red = page.evaluate("+getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]")
    assert (red < 64) if scheme == "dark" else (red > 192)
    page.locator("#picture").scroll_into_view_if_needed()
    page.touchscreen.tap(*over(page, 3))
    page.wait_for_selector("#kept:not([hidden])")


def test_it_prints(visit: Any, report: Path) -> None:
    page = visit(report, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("#filters").is_hidden() and page.locator("#picture").is_visible()
    page.emulate_media(media="screen")
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_live_page_follows_and_keeps_what_was_chosen(
    visit: Any, url: str, serving: Callable[..., Any]
) -> None:
    with Store.open(url) as store, serving(store) as address:
        page = visit(address)
        page.fill("#find", "jacobi")
        page.wait_for_function("at('count').textContent === '6 of 7 candidates'")
        page.select_option("#y", "kid")
        page.evaluate(
            "Plotly.relayout(at('picture'), {'xaxis.range': [2, 5], 'yaxis.range': [0, 0.02]})"
        )
        summary = page.locator("#reuse details summary").first
        summary.click()
        page.evaluate("window.unloaded = false")
        old = store.trials("demo", {4})[0]
        tree = {**old.tree, "runtime": {"is": "runtimes/local", "dtype": "bf16"}}
        identity = store.propose("demo", 8, tree, ())
        (timed,) = (m for m in store.measurements(old.candidate_id) if m.aspect == "speed")
        faster = tuple(
            replace(q, value=4.5) if q.name == "images_per_s" else q for q in timed.quantities
        )
        of_speed, _ = store.observe(identity, replace(timed, key="cost-8", quantities=faster))
        of_quality = store.find("quality", None, identity, key="law-70.0")
        assert of_quality is not None
        origin = {"quality": "law", "speed": "measured"}
        store.finish("demo", 8, of_quality.id, of_speed.id, origin)
        page.wait_for_function("at('count').textContent === '7 of 8 candidates'", timeout=60_000)
        assert 8 in drawn(page) and page.evaluate("data.kind[data.number.indexOf(8)]") == "front"
        assert "#8" in page.locator("[data-part=summary]").inner_text()
        assert page.input_value("#find") == "jacobi" and page.input_value("#y") == "kid"
        zoom = page.evaluate("[at('picture').layout.xaxis.range, at('picture').layout.yaxis.range]")
        assert zoom == [[2, 5], [0, 0.02]]
        assert page.evaluate("document.querySelector('#reuse details').open")
        assert page.evaluate("window.unloaded") is False  # it was not loaded again
        assert page.locator("#live").inner_text().startswith("live, changed")
    page.wait_for_selector("#live.lost", timeout=60_000)


def test_the_token_opens_the_page_and_is_not_left_in_its_address(
    visit: Any, url: str, serving: Callable[..., Any]
) -> None:
    with (
        Store.open(url, create=False) as store,
        serving(store, token="sesame-sesame-sesame") as address,
    ):
        page = visit(f"{address}/?token=sesame-sesame-sesame")
        assert page.evaluate("location.href") == address + "/"
        status = page.evaluate("fetch('state').then(answer => answer.status)")
        assert status == 200


def many(store: Store) -> View:
    """A study of MANY made candidates, in the view of the small one."""
    view = look(store, "demo")
    example = view.results.trials[3]

    def trial(number: int) -> Trial:
        window, size = 2 + number % 30, 2 + number // 30 % 20
        decoder: dict[str, Any] = {
            "is": "decoders/speculative",
            "drafter": {"is": "drafters/jacobi", "window": window, "init": "random"},
            "verifier": {"is": "verifiers/grouped", "size": size},
        }
        speed = 1 + window / 10 + math.sin(number) / 2
        values = {"images_per_s": speed, "fid": 50 + size * 3 + math.cos(7 * number)}
        quantities = {n: replace(example.quantities[n], value=v) for n, v in values.items()}
        tree = {**example.tree, "decoder": decoder, "at": number}
        return replace(
            example, number=number, candidate_id=f"{number:032x}", tree=tree, quantities=quantities
        )

    trials = tuple(map(trial, range(MANY)))
    return replace(
        view,
        results=judge(view.results.info, trials),
        everyone=trials,
        trials=trials,
        account=account(trials, []),
        sheets={},
    )


def test_ten_thousand_candidates_stay_within_bounds(visit: Any, store: Store) -> None:
    """All are drawn and asked, by a page of bounded size; what it took is printed."""
    begun = time.perf_counter()
    Path("many.html").write_text(render(many(store)), encoding="utf-8")
    size = Path("many.html").stat().st_size / 1e6
    print(f"\nwritten in {time.perf_counter() - begun:.1f} s, {size:.1f} MB")
    begun = time.perf_counter()
    page = visit(Path("many.html"))
    print(f"opened in {time.perf_counter() - begun:.1f} s")
    assert page.evaluate("webgl") and page.locator("#count").inner_text() == "10,000 candidates"
    assert len(drawn(page)) == MANY
    nodes = "document.querySelectorAll('*').length"
    assert page.evaluate(nodes) < 6000  # a table row or mark for each would be 100,000
    for words, found in (("size=5)", 510), ("window=7)", 334), ("#77", 1)):
        begun = time.perf_counter()
        page.fill("#find", words)
        page.wait_for_function(f"at('count').textContent === '{found} of 10,000 candidates'")
        print(f"filtered by {words!r} in {time.perf_counter() - begun:.2f} s")
        assert len(drawn(page)) == found and len(listed(page)) == min(found, 50)
    assert listed(page) == [77]
    page.fill("#find", "")
    page.wait_for_function("at('count').textContent === '10,000 candidates'")
    page.locator("#picture").scroll_into_view_if_needed()
    begun = time.perf_counter()
    page.mouse.move(*over(page, 77))
    page.locator("#tip").wait_for(state="visible")
    print(f"hovered in {time.perf_counter() - begun:.2f} s")
    frames = page.evaluate(
        """new Promise(end => { let count = 0, begun = performance.now(); const next = () => {
          scrollBy(0, 3); count += 1;
          performance.now() - begun < 1000 ? requestAnimationFrame(next) : end(count);
        }; requestAnimationFrame(next); })"""
    )
    print(f"{frames} frames in a second of scrolling")
    page.locator("#pages button[data-page='1']").click()
    assert len(listed(page)) == 50 and page.evaluate(nodes) < 6000
