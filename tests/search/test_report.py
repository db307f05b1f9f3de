"""The report page: self-contained, and telling what the store holds."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from paretoken.cache.store import Store
from paretoken.search.report.groups import without_loss
from paretoken.search.report.importance import importances
from paretoken.search.report.knobs import flat
from paretoken.search.report.results import judge, read
from paretoken.search.report.samples import Answer, Sheet, compared
from paretoken.search.report.view import look
from paretoken.search.report.wording import brief, number
from paretoken.spaces.records import Environment, Measurement, Quantity

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
        self.words += " "

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
    outside = [ref for ref in page.references if not ref.startswith(("data:", "#"))]
    assert page.references and not outside
    style = re.findall("<style>.*?</style>", Path("report.html").read_text(), re.DOTALL)
    assert style and "http" not in style[0] and "@import" not in style[0]


def test_the_embedded_data_are_the_store_s(page: Page, store: Store) -> None:
    trials, data = store.trials("demo"), page.data
    assert data["number"] == [trial.number for trial in trials]
    assert data["candidate"] == [trial.candidate_id for trial in trials]
    assert data["state"] == [trial.state for trial in trials]
    for row, trial in enumerate(trials):
        values = {n: q["value"][row] for n, q in data["quantities"].items()}
        for name, found in values.items():  # seven digits of it: half a unit of the last
            known = trial.quantities.get(name)
            assert found == (None if known is None else pytest.approx(known.value, rel=5e-7))
        settings = flat(trial.tree)
        for path, knob in data["knobs"].items():
            place = knob["places"][row]
            assert (settings[path] == knob["levels"][place]) if place >= 0 else path not in settings
    kinds = dict(zip(data["number"], data["kind"], strict=True))
    assert [n for n, kind in kinds.items() if kind == "front"] == [1, 3, 4]
    assert [n for n, kind in kinds.items() if kind == "close"] == [7]
    assert data["axes"] == ["images_per_s", "fid"]


def test_the_page_tells_facts_failures_and_samples(page: Page) -> None:
    for words in ("cpu Test, 2 threads", "torch 2.14.1", "N = 500", "lite0", "--samples 500"):
        assert words in page.words
    assert "the logits of <row> 3 are NaN" in page.words  # escaped, therefore text
    assert len(page.images) == 3  # plain, number 3, and number 1, which shows plain's
    assert "drawn for number 0, equal law" in page.words


def test_what_was_found_stands_at_the_top(page: Page) -> None:
    """Of the made study: 1 has plain's FID and is the fastest such; 4 leads the front. 1 and 2 took
    plain's quality: 2 of the 14 numbers of 7 candidates."""
    top = " ".join(page.words.partition("Speed against quality")[0].split())
    assert "no loss of quality 2.50 ± 0.04 times #1: FID 50.0 ± 1.0" in top
    assert "fastest on the front 4.00 ± 0.06 times #4: FID 70.0 ± 1.0" in top
    assert "candidates measured 7 of 8 proposals, 1 failed" in top
    assert "14 % 2 of 14 measurements were known already, worth 6 s" in top


def test_settings_that_do_the_same_are_listed_together(page: Page) -> None:
    words = " ".join(page.words.split())
    assert "3 settings of one quality FID 50.0 ± 1.0; 3 proposals, 1 observation, saved 6" in words
    assert "#2 jacobi(window=4) · exact" in words


def test_text_cannot_leave_its_place(url: str, store: Store, cli: Cli) -> None:
    text = Path("x.html")
    with Store.open(url) as opened:
        tree = opened.trials("demo")[1].tree | {"runtime": {"is": "runtimes/</script><b>&"}}
        opened.propose("demo", 8, tree, ())
    assert cli("report", "demo", "--out", str(text)).code == 0
    assert "script><b>&" in Page(text.read_text()).data["knobs"]["runtime"]["levels"]


def test_each_batch_size_and_device_has_a_front_of_its_own(url: str, cli: Cli) -> None:
    """A slow device's candidates are on no front of the fast one, but on their own."""
    with Store.open(url) as opened:
        _timed_elsewhere(opened, 8, 1, 0.1)
        _timed_elsewhere(opened, 9, 16, 0.4)
        view = look(opened, "demo")
    found = {group.name: group.results.front for group in view.groups}
    assert found == {
        "cpu Test, 2 threads, batch 1": (4, 3, 1),
        "cpu slow, batch 1": (8,),
        "cpu slow, batch 16": (9,),
    }
    assert cli("report", "demo").code == 0
    page = Page(Path("report.html").read_text())
    assert "cpu slow, batch 16" in page.words
    assert page.data["device"][8:] == ["cpu slow"] * 2 and page.data["batch"][8:] == [1, 16]


def _timed_elsewhere(store: Store, number: int, batch: int, speed: float) -> None:
    runtime = {"is": "runtimes/local", "dtype": "fp32", "batch": batch}
    tree = store.trials("demo", {1})[0].tree | {"runtime": runtime}
    identity = store.propose("demo", number, dict(tree), ())
    rate = Quantity("images_per_s", speed, 0.01, 5, "images/s", True, "slow", {"batch": batch})
    place = Environment("cpu slow", "paretoken 0.1.0, torch 2.14.1")
    quick = Measurement("speed", f"slow-{number}", (rate,), place, 0, 1.0)
    quality = store.find("quality", None, identity, key="law-50.0")
    assert quality is not None
    of_speed, _ = store.observe(identity, quick)
    store.finish("demo", number, quality.id, of_speed.id, {"quality": "law", "speed": "measured"})


def test_nothing_without_loss_is_faster_than_plain(store: Store) -> None:
    """1, 2 and 7 do, and 7 only where more is lost than nothing: without 1 and 2 none is left."""
    results = read(store, "demo")
    best = without_loss(results)
    assert best is not None and best.number == 1
    lossy = [trial for trial in results.trials if trial.number not in (1, 2)]
    assert without_loss(judge(results.info, lossy)) is None


def test_another_batch_size_is_no_gain_without_loss(store: Store) -> None:
    """Candidate 2 with eight rows at a time is the fastest of all, and compares with none."""
    trials = store.trials("demo")
    rate = replace(trials[2].quantities["images_per_s"], value=9.0, comparable="cpu batch 8")
    trials[2] = replace(trials[2], quantities={**trials[2].quantities, "images_per_s": rate})
    best = without_loss(judge(store.study("demo"), trials))
    assert best is not None and best.number == 1


def test_importance_finds_the_setting_that_matters(store: Store) -> None:
    """Speed is the window here and nothing else, FID the group size: 60 candidates of a grid."""
    trial = store.trials("demo")[3]
    some = []
    for at in range(60):
        window, size, init = 2 ** (1 + at % 5), 2 + at // 5 % 4, "abc"[at // 20]
        tree = copy.deepcopy(dict(trial.tree))
        tree["decoder"]["drafter"] |= {"window": window, "init": init}
        tree["decoder"]["verifier"]["size"] = size
        values = {"images_per_s": float(window), "fid": 50.0 + size}
        quantities = {n: replace(trial.quantities[n], value=v) for n, v in values.items()}
        some.append(
            replace(trial, number=at, candidate_id=str(at), tree=tree, quantities=quantities)
        )
    info = store.study("demo")
    found = importances(judge(info, some))
    assert found is not None and found.candidates == 60
    assert found.aims == ("images/s", "FID", "the front")
    shares = dict(found.shares)
    assert shares["window"][0] > 0.8 and shares["size"][1] > 0.8
    assert max(shares.get("init", (0.0,) * 3)[:2]) < 0.1  # changes nothing
    assert importances(judge(info, some[:9])) is None  # too few


def test_texts_stand_beside_plain_decoding_s() -> None:
    """Equal answers are shown once, others from the word on that differs."""
    sheets = {
        0: Sheet("", 0, (("chat", "Who?", "Ann cooks dinner."),)),
        3: Sheet("", 3, (("chat", "Who?", "Ann cooks diners."),)),
        4: Sheet("", 4, (("chat", "Who?", "Ann cooks dinner."),)),
        5: Sheet("", 5, (("chat", "Who?", "Ann cooks dinner."),)),
    }
    (one,) = compared(sheets)
    assert (one.kind, one.prompt, one.plain) == ("chat", "Who?", "Ann cooks dinner.")
    assert one.answers == (
        Answer((3,), "Ann cooks ", "diners."),
        Answer((4, 5), "Ann cooks dinner.", ""),
    )


def test_answers_are_on_the_page(url: str, cli: Cli) -> None:
    with Store.open(url) as opened:
        opened.create_study(replace(opened.study("demo"), name="words"))
        for number, (answer, speed) in enumerate((("It is <b>.", 1.0), ("It was.", 2.0))):
            trial = opened.trials("demo", {number})[0]
            tree = trial.tree | {"runtime": {"is": "runtimes/local", "dtype": "bf16"}}
            identity = opened.propose("words", number, tree, ())
            detail = {"samples_text": [["chat", "What?", answer]]}
            place, fid = Environment("cpu Test", "1"), 50.0 + number
            seen = Measurement(
                "quality", f"k{number}", (Quantity("fid", fid, 1.0, 9, "", False),), place, 0, 1.0,
                detail,
            )  # fmt: skip
            rate = Quantity("images_per_s", speed, 0.1, 5, "images/s")
            timed = Measurement("speed", f"c{number}", (rate,), place, 0, 1.0)
            ids = (opened.observe(identity, each)[0].id for each in (seen, timed))
            opened.finish("words", number, *ids, {"quality": "measured", "speed": "measured"})
    assert cli("report", "words").code == 0
    text = Path("report.html").read_text()
    assert "It is &lt;b&gt;." in text
    assert "It <mark>was.</mark>" in text


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
