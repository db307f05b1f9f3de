"""The language of `--where`: what it means, what it refuses, and how it says so."""

from __future__ import annotations

import pytest

from paretoken.search.query import NothingMatches, parse, row, select
from paretoken.spaces.errors import BadInput
from paretoken.spaces.records import Quantity, Trial

ROW = {
    "fid": 50.0,
    "speedup": 2.5,
    "decoder.verifier": "grouped",
    "decoder.verifier.is": "verifiers/grouped",
    "decoder.verifier.size": 4,
    "decoder.drafter.window": 16,
    "decoder.drafter.exact": True,
    "sampling.top_k": None,
}
# A second row, so that its names are known while ROW has no value for them.
OTHER = {"kid": 0.01, "decoder.length.size": 7, "runtime.dtype": "fp32"}


def matches(text: str) -> bool:
    return parse(text).bind([ROW, OTHER]).matches(ROW)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("fid <= 60 and speedup >= 2", True),
        ("fid<=60 and speedup>=3", False),
        ("fid > 60 or speedup > 2", True),
        ("not fid > 60", True),
        ("not (fid > 60 or speedup > 2)", False),
        ("not not fid < 60", True),
        ("fid > 60 and fid < 9 or speedup > 2", True),  # `and` binds first
        ("fid > 60 and (fid < 9 or speedup > 2)", False),
        ("not fid > 60 and speedup > 9", False),  # `not` binds before `and`
        ("2 <= speedup < 3", True),
        ("2 <= speedup < 2.5", False),
        ("10 < 20 < fid < 60 < 70", True),
        ("60 >= fid", True),
        ("fid == 50", True),
        ("fid == 50.0", True),
        ("fid != 50", False),
        ("fid > -1e3", True),
        ("fid > +.5e1", True),
        ("fid ≤ 50 and fid ≥ 50 and fid ≠ 51", True),
        ("window == 16", True),
        ("drafter.window == 16", True),
        ("decoder.drafter.window == 16", True),
        ("verifier.size <= 4", True),
        ("window > speedup", True),
        ('verifier == "grouped"', True),
        ("verifier == 'verifiers/grouped'", True),
        ('"grouped" == verifier', True),
        ('verifier != "exact"', True),
        ('verifier < "h"', True),
        ('verifier == ""', False),
        ("exact == true", True),
        ("exact == False", False),
        ("top_k == null", True),
        ("top_k != none", False),
        ("top_k > 3", False),
        ("verifier == 4", False),
        ("verifier != 4", True),
        ("\n fid\t<= 60 \n", True),
    ],
)
def test_a_condition_means_what_it_says(text: str, wanted: bool) -> None:
    assert matches(text) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("kid < 1", False),
        ("not kid < 1", False),
        ("kid == 1", False),
        ("kid != 1", False),
        ("kid < 1 or fid < 60", True),
        ("kid < 1 and fid < 60", False),
        ("not (kid < 1 and fid > 60)", True),
        ('dtype != "fp16"', False),
    ],
)
def test_what_was_not_measured_never_makes_a_match(text: str, wanted: bool) -> None:
    assert matches(text) is wanted


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("", 1, "empty"),
        ("   ", 1, "empty"),
        ("fid <=", 7, "expected a name, a number or a text, found the end"),
        ("fid", 4, "expected a comparison"),
        ("fid < 60 speedup > 2", 10, "expected 'and', 'or' or the end, found 'speedup'"),
        ("fid < 60 and", 13, "found the end"),
        ("and fid < 60", 1, "found 'and'"),
        ("fid < (60)", 7, "found '('"),
        ("(fid < 60", 10, "expected ')'"),
        ("fid < 60)", 9, "found ')'"),
        ("()", 2, "found ')'"),
        ("fid = 60", 5, "write '==' instead of '='"),
        ("fid <> 60", 5, "write '!=' instead of '<>'"),
        ("fid < 60 && speedup > 2", 10, "write 'and' instead of '&&'"),
        ("fid < 60 || speedup > 2", 10, "write 'or' instead of '||'"),
        ("!(fid < 60)", 1, "write 'not' instead of '!'"),
        ('verifier == "grouped', 13, "no closing quote"),
        ("fid < 1e999", 7, "too large"),
        ("fid < 1.2.3", 7, "cannot read '1'"),
        ("fid < 60; drop table", 9, "cannot read ';'"),
        ("fid < $HOME", 7, "cannot read '$'"),
        ("fid < 60 \N{FIRE}", 10, "cannot read"),
        ("fid < \x00", 7, "cannot read '\N{REPLACEMENT CHARACTER}'"),
        ('__import__("os")', 11, "expected a comparison"),
        ('__import__("os").system("true")', 17, "cannot read '.'"),
        ("[x for x in fid]", 1, "cannot read '['"),
        ("fid.__class__ < 1", 1, "no quantity or setting is called 'fid.__class__'"),
        ("lambda < 1", 1, "no quantity or setting is called 'lambda'"),
        ("fidd < 60", 1, "Did you mean 'fid'?"),
        ("windw == 16", 1, "Did you mean 'window'?"),
        ("verifier == grouped", 13, "text needs quotes: 'grouped'"),
        ("size > 1", 1, "decoder.length.size or decoder.verifier.size"),
        ("verifier < 4", 10, "cannot order text against a number"),
        ("(" * 5000, 51, "nested deeper than 50"),
        ("not " * 5000 + "fid < 1", 201, "nested deeper than 50"),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_column(
    text: str, column: int, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        matches(text)
    first, shown, caret = str(caught.value).split("\n")
    assert f"column {column}:" in first and words in first
    assert len(shown) < 80 and caret.strip() == "^"
    if text.isprintable() and text and column <= len(text):
        assert shown[caret.index("^")] == text[column - 1]


def test_ten_thousand_characters_are_just_a_long_condition() -> None:
    assert matches(" or ".join(["fid > 60"] * 1000) + " or fid < 60")
    with pytest.raises(BadInput, match="no quantity or setting"):
        matches("x" * 10_000 + " < 1")


def trial(number: int, state: str = "done", **values: float) -> Trial:
    quantities = {name: Quantity(name, value, 0.0, 1) for name, value in values.items()}
    settings = {"decoder": {"is": "decoders/speculative", "drafter": {"is": "drafters/none"}}}
    return Trial(number, f"{number:032x}", settings, (), state, quantities)


def test_a_row_has_quantities_and_every_setting_by_path() -> None:
    assert row(trial(0, fid=50.0)) == {
        "fid": 50.0,
        "decoder": "speculative",
        "decoder.is": "decoders/speculative",
        "decoder.drafter": "none",
        "decoder.drafter.is": "drafters/none",
    }


def test_only_finished_trials_are_selected() -> None:
    trials = [trial(0, fid=50.0), trial(1, "failed"), trial(2, "pending"), trial(3, fid=60.0)]
    assert [found.number for found in select("", trials)] == [0, 3]
    assert [found.number for found in select("fid > 55", trials)] == [3]
    with pytest.raises(NothingMatches, match="no finished trial"):
        select("fid > 55", trials[1:3])


def test_the_nearest_trial_is_told_when_nothing_matches() -> None:
    trials = [trial(0, fid=80.0, speedup=3.0), trial(1, fid=50.5, speedup=1.9), trial(2, fid=1.0)]
    with pytest.raises(NothingMatches) as caught:
        select("fid <= 50 and speedup >= 2", trials)
    said = str(caught.value)
    assert "number 1" in said and "\n" not in said
    assert "fid = 50.5 (wanted <= 50)" in said and "speedup = 1.9 (wanted >= 2)" in said
    with pytest.raises(NothingMatches, match="not <= 99"):
        select("not fid <= 99", trials)
