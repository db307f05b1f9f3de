"""The report page: self-contained, and telling what the store holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.report.results import judge, read
from paretoken.search.report.wording import brief, number

Cli = Callable[..., Any]


class Page(HTMLParser):
    """What a page refers to, its embedded data, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.images: list[str] = []
        self.data: Any = None
        self.words = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.references += [str(given[key]) for key in ("src", "href") if key in given]
        self.images += [str(given["src"])] if tag == "img" else []
        self._inside = str(given.get("id") or tag) if tag in ("script", "style") else ""

    def handle_data(self, data: str) -> None:
        if self._inside == "data":
            self.data = json.loads(data)
        elif not self._inside:
            self.words += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""


@pytest.fixture
def page(cli: Cli, url: str) -> Page:
    ran = cli("report", "demo", "--out", "report.html")
    assert ran.code == 0 and "7 candidates, 3 on the front" in ran.out
    return Page(Path("report.html").read_text())


def test_the_page_needs_nothing_from_elsewhere(page: Page) -> None:
    assert page.references and all(ref.startswith("data:image/png") for ref in page.references)
    style = re.findall("<style>.*?</style>", Path("report.html").read_text(), re.DOTALL)
    assert style and "http" not in style[0] and "@import" not in style[0]


def test_the_embedded_data_are_the_store_s(page: Page, store: Store) -> None:
    trials = store.trials("demo")
    assert [found["number"] for found in page.data["trials"]] == [t.number for t in trials]
    for found, trial in zip(page.data["trials"], trials, strict=True):
        assert found["settings"] == trial.tree and found["state"] == trial.state
        values = {name: quantity["value"] for name, quantity in found["quantities"].items()}
        assert values == {name: quantity.value for name, quantity in trial.quantities.items()}
    assert [t["number"] for t in page.data["trials"] if t["front"]] == [1, 3, 4]
    assert [t["number"] for t in page.data["trials"] if t["indistinguishable"]] == [7]
    assert page.data["axes"] == ["images_per_s", "fid"]


def test_the_page_tells_facts_failures_and_samples(page: Page) -> None:
    for words in ("cpu Test, 2 threads", "torch 2.14.1", "N = 500", "lite0", "--samples 500"):
        assert words in page.words
    assert "the logits of <row> 3 are NaN" in page.words  # escaped, therefore text
    assert len(page.images) == 3  # plain, number 3, and number 1, which shows plain's
    assert "drawn for number 0, equal law" in page.words


def test_text_cannot_leave_its_place(url: str, store: Store, cli: Cli) -> None:
    text = Path("x.html")
    with Store.open(url) as opened:
        tree = opened.trials("demo")[1].tree | {"runtime": {"is": "runtimes/</script><b>&"}}
        opened.propose("demo", 8, tree, ())
    assert cli("report", "demo", "--out", str(text)).code == 0
    assert Page(text.read_text()).data["trials"][8]["settings"] == tree


def test_a_study_without_results_still_has_a_page(url: str, cli: Cli, store: Store) -> None:
    info = store.study("demo")
    with Store.open(url) as opened:
        opened.create_study(type(info)(**{**vars(info), "name": "empty"}))
    assert cli("report", "empty", "--out", "empty.html").code == 0
    assert "No candidate has been measured yet." in Page(Path("empty.html").read_text()).words
    ran = cli("front", "empty")
    assert ran.code == 0 and "no finished candidate yet" in ran.out
    assert cli("best", "empty").code == 1


def test_values_of_other_conditions_are_left_out_and_told(store: Store) -> None:
    results = read(store, "demo")
    fast = results.trials[4]
    other = fast.quantities["fid"]
    moved = type(other)(**{**vars(other), "value": 1.0, "comparable": "lite0 N=50"})
    changed = type(fast)(**{**vars(fast), "quantities": {**fast.quantities, "fid": moved}})
    trials = [changed if trial.number == 4 else trial for trial in results.trials]
    judged = judge(results.info, trials)
    assert 4 not in judged.front and judged.note.startswith("1 of 7")


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (50.0, 1.0, "50.0 ± 1.0"),
        (50.0, 3.2, "50 ± 3"),
        (2.4137, 0.031, "2.41 ± 0.03"),
        (2.4137, 0.0131, "2.414 ± 0.013"),
        (0.01234, 0.0005, "0.0123 ± 0.0005"),
        (123456.7, 890.0, "123457 ± 890"),
        (256, 0.0, "256"),
        (97.25, 0.0, "97.25"),
        (0.0, 0.0, "0"),
        (-0.00123456, 0.0, "-0.001235"),
        (float("nan"), 0.0, "nan"),
        (1.0, float("inf"), "1"),
    ],
)
def test_numbers_show_what_their_spread_supports(value: float, spread: float, text: str) -> None:
    assert number(value, spread) == text


def test_brief_settings_leave_out_what_all_share(store: Store) -> None:
    lines, shared = brief(store.trials("demo")[1:5])
    assert lines[2] == "jacobi(window=16) · grouped(size=2)"
    assert "temperature=1.0" in shared and "window" not in shared
    (alone,), nothing = brief(store.trials("demo")[1:2])
    assert "temperature=1.0" in alone and nothing == ""
