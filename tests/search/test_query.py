"""The language of `--where`: what it means, what it refuses, and how it says so."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from paretoken.cache.condition import MISSING, SIGNS, Compare, Every, Number, Setting
from paretoken.cache.store import Store
from paretoken.search.query.grammar import Group, Name, Node, parse
from paretoken.search.query.selecting import Filter, NothingMatches, condition
from paretoken.search.query.tokens import Source
from paretoken.search.report import choice
from paretoken.spaces.errors import BadInput, BadValue
from paretoken.spaces.objectives import Objective
from paretoken.spaces.records import Environment, Measurement, Quantity, StudyInfo

HERE = Environment("cpu", "paretoken 0.1.0")
WANTED = (Objective("fid", "", False, ""), Objective("images_per_s", "images/s", True, ""))


def finish(store: Store, number: int, tree: dict[str, Any], speed: float, **values: float) -> None:
    identity = store.propose("s", number, tree, ())
    quality = tuple(Quantity(name, value, 0.0, 1, higher=False) for name, value in values.items())
    rate = (Quantity("images_per_s", speed, 0.0, 1),)
    ids = [
        store.observe(identity, Measurement(aspect, f"{aspect} {number}", found, HERE, 0, 1.0))[
            0
        ].id
        for aspect, found in (("quality", quality), ("speed", rate))
    ]
    store.finish("s", number, ids[0], ids[1], {})


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def asked(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    """Plain decoding, number 1, which conditions are about, and number 2, which is unlike."""
    url = f"sqlite:///{tmp_path_factory.mktemp('query')}/store.db"
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("CREATE DATABASE query"))
        engine.dispose()
        url = make_url(server).set(database="query").render_as_string(hide_password=False)
    with Store.open(url) as store:
        store.create_study(StudyInfo("s", "", "", 0, {}, WANTED, {}, ""))
        finish(store, 0, {"decoder": {"is": "decoders/plain"}}, 1.0, fid=49.0)
        one = {
            "decoder": {
                "is": "decoders/speculative",
                "verifier": {"is": "verifiers/grouped", "size": 4},
                "drafter": {"is": "drafters/jacobi", "window": 16, "exact": True},
            },
            "sampling": {"top_k": None, "stop": [1, 2], "said": "it's 50%_of \\ all"},
        }
        finish(store, 1, one, 2.5, fid=50.0)
        other = {"decoder": {"is": "decoders/x", "length": {"size": 7}}, "dtype": "fp32"}
        finish(store, 2, other, 1.5, fid=70.0, kid=0.01)
        store.propose("s", 3, {"decoder": {"is": "decoders/plain"}, "never": 1}, ())
        yield store


@pytest.fixture
def matches(asked: Store) -> Callable[[str], bool]:
    """Whether number 1 fits."""

    def ask(where: str) -> bool:
        return 1 in asked.matching("s", condition(asked, "s", where))

    return ask


@pytest.mark.parametrize(
    ("where", "wanted"),
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
        ("not top_k > 3", False),
        ("fid = 50", True),
        ("exact == 1", False),
        ("exact != 1", True),
        ("exact != false", True),
        ("decoder.verifier.is == 'grouped'", True),
        ("decoder.verifier.is == 'verifiers/grouped'", True),
        ("verifier == 'drafters/grouped'", False),
        ("decoder == 'speculative'", True),
        ("verifier == drafter", False),
        ("verifier != drafter", True),
        ("window == decoder.verifier.size", False),
        ("verifier in ('exact', \"grouped\")", True),
        ("verifier not in ('exact', 'typical')", True),
        ("not verifier in ('exact')", True),
        ("window in (8, 16, 32) and fid in (50)", True),
        ("window in (8, 'sixteen', null)", False),
        ("top_k in (1, null)", True),
        ("kid == missing", True),
        ("fid == missing", False),
        ("fid != missing", True),
        ("top_k == missing", False),  # null is a value
        ("decoder.length.size == missing", True),
        ("missing != window", True),
        ('said == "it\'s 50%_of \\ all"', True),
        ('said == "it\'s 50x_of \\ all"', False),
        ("stop == '[1,2]'", True),
        ("3 < 4", True),
        ("'a' < 'b' and not 'b' < 'a'", True),
        ("null == null and missing == missing and null != missing", True),
        ("true == true and not 1 == 'one'", True),
        ("verifier == 4", False),
        ("verifier != 4", True),
        ("\n fid\t<= 60 \n", True),
    ],
)
def test_a_condition_means_what_it_says(
    matches: Callable[[str], bool], where: str, wanted: bool
) -> None:
    assert matches(where) is wanted


@pytest.mark.parametrize(
    ("where", "wanted"),
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
def test_what_was_not_measured_never_makes_a_match(
    matches: Callable[[str], bool], where: str, wanted: bool
) -> None:
    assert matches(where) is wanted


@pytest.mark.parametrize(
    ("where", "column", "words"),
    [
        ("fid <=", 7, "expected a name, a number or a text, found the end"),
        ("fid", 4, "expected a comparison"),
        ("fid < 60 speedup > 2", 10, "expected 'and', 'or' or the end, found 'speedup'"),
        ("fid < 60 and", 13, "found the end"),
        ("and fid < 60", 1, "found 'and'"),
        ("fid < (60)", 7, "found '('"),
        ("(fid < 60", 10, "expected ')'"),
        ("fid < 60)", 9, "found ')'"),
        ("()", 2, "found ')'"),
        ("fid <= +2%", 10, "belongs into --budget"),
        ("fid in 60", 8, 'expected a list such as ("exact", "grouped"), found \'60\''),
        ("fid in ()", 9, "expected a name, a number or a text, found ')'"),
        ("fid in (60", 11, "expected ')'"),
        ("fid in (60 61)", 12, "expected ')', found '61'"),
        ("fid in (60, fid)", 13, "a list has values in it"),
        ("fid not 60", 9, "expected 'in' after 'not'"),
        ("fid < missing", 5, "is == or !=, not <"),
        ('verifier == "a\nb"', 13, "cannot be printed"),
        ('verifier == "\ud800"', 13, "cannot be printed"),
        ("exact < 4", 7, "cannot order true or false against a number"),
        ("exact < true", 7, "cannot order true or false against true or false"),
        ("never == 1", 1, "no quantity or setting is called 'never'"),  # of a pending trial
        ("fid <> 60", 5, "write '!=' instead of '<>'"),
        ("fid =< 60", 5, "write '<=' instead of '=<'"),
        ("fid => 60", 5, "write '>=' instead of '=>'"),
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
    matches: Callable[[str], bool], where: str, column: int, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        matches(f"{where}")
    first, shown, caret = str(caught.value).split("\n")
    assert f"column {column}:" in first and words in first
    assert len(shown) < 80 and caret.strip() == "^"
    if where.isprintable() and where and column <= len(where):
        assert shown[caret.index("^")] == where[column - 1]


def test_the_longest_conditions_are_answered_and_longer_ones_refused(
    matches: Callable[[str], bool],
) -> None:
    assert matches(" or ".join(["fid > 60"] * 199) + " or fid < 60")
    assert not matches(" and ".join(["window > fid"] * 200))
    assert matches("not (" * 24 + " and ".join(["window < fid"] * 200) + ")" * 24)
    with pytest.raises(BadInput, match="more than 200 comparisons"):
        matches(" or ".join(["fid > 60"] * 201))
    with pytest.raises(BadInput, match="longer than 50,000 characters"):
        matches("fid < 60" + " " * 50_000 + "or fid > 60")
    with pytest.raises(BadInput, match="no quantity or setting"):
        matches("x" * 10_000 + " < 1")


ROWS: tuple[dict[str, Any], ...] = (  # the trials of `asked`, by what the sentences below name
    {"fid": 49.0, "speedup": 1.0, "decoder": "plain"},
    {
        "fid": 50.0, "speedup": 2.5, "decoder": "speculative", "decoder.verifier": "grouped",
        "decoder.verifier.size": 4, "decoder.drafter": "jacobi", "decoder.drafter.window": 16,
        "decoder.drafter.exact": True, "sampling.top_k": None,
    },
    {"fid": 70.0, "speedup": 1.5, "kid": 0.01, "decoder": "x", "decoder.length.size": 7,
     "dtype": "fp32"},
)  # fmt: skip
NAMES = sorted({name for row in ROWS for name in row})
VALUES = ["1", "4", "50", "2.5", "'grouped'", '"x"', "true", "false", "null"]


def sentence(draw: random.Random, depth: int) -> str:
    kind = draw.random()
    if depth and kind < 0.5:
        word = draw.choice(["and", "or"])
        return f"({sentence(draw, depth - 1)} {word} {sentence(draw, depth - 1)})"
    if depth and kind < 0.65:
        return f"not {sentence(draw, depth - 1)}"
    left, right = draw.choice(NAMES), draw.choice(NAMES + VALUES)
    if kind < 0.75:
        several = ", ".join(draw.choices(VALUES, k=draw.randint(1, 3)))
        return f"{left} {draw.choice(['in', 'not in'])} ({several})"
    if kind < 0.85:
        return f"{left} {draw.choice(['==', '!='])} missing"
    return f"{left} {draw.choice(list(SIGNS))} {right}"


def truth(node: Node, row: dict[str, Any]) -> bool | None:
    """The meaning of a condition, as the documentation has it."""
    if isinstance(node, Group):
        parts = [truth(part, row) for part in node.parts]
        if node.word == "not":
            return None if parts[0] is None else not parts[0]
        decisive = node.word == "or"
        return decisive if decisive in parts else None if None in parts else not decisive
    left, right = (
        row.get(side.text, MISSING) if isinstance(side, Name) else side
        for side in (node.left, node.right)
    )
    if MISSING in (node.left, node.right):
        return ((left is MISSING) == (right is MISSING)) == (node.sign == "==")
    if left is MISSING or right is MISSING:
        return None
    kinds = ["flag" if isinstance(v, bool) else "text" if isinstance(v, str) else
             "null" if v is None else "number" for v in (left, right)]  # fmt: skip
    alike = kinds[0] == kinds[1]
    if node.sign in ("==", "!="):
        return (alike and left == right) == (node.sign == "==")
    return bool(SIGNS[node.sign](left, right)) if alike and kinds[0] in ("number", "text") else None


@pytest.mark.parametrize("seed", range(2))
def test_random_sentences_mean_what_is_documented(asked: Store, seed: int) -> None:
    draw = random.Random(seed)
    answers: set[tuple[int, ...]] = set()
    refused = 0
    for _ in range(100):
        where = sentence(draw, 3)
        root = parse(Source(where))
        expected = [number for number, row in enumerate(ROWS) if truth(root, row) is True]
        try:
            found = asked.matching("s", condition(asked, "s", where))
        except BadInput as error:
            assert "cannot order" in str(error), where
            refused += 1
            continue
        assert found == expected, where
        answers.add(tuple(found))
    assert len(answers) >= 6 and 0 < refused < 80


def test_an_empty_condition_is_none_and_blank_source_is_refused(asked: Store) -> None:
    assert condition(asked, "s", "  ") is None and asked.matching("s", None) == [0, 1, 2]
    with pytest.raises(BadInput, match="column 1: the condition is empty"):
        parse(Source("  "))


def test_quantities_are_answered_without_reading_a_setting(
    asked: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("settings were read")

    monkeypatch.setattr(Store, "settings", unwanted)
    bound = Compare(Number("fid"), "<=", 60)
    assert condition(asked, "s", "fid <= 60") == bound
    assert condition(asked, "s", "fid <= 60 and speedup = 2") == Every(
        (bound, Compare(Number("speedup"), "==", 2))
    )
    with pytest.raises(AssertionError, match="settings were read"):
        condition(asked, "s", "window = 16")


def test_text_reaches_the_database_as_a_parameter(asked: Store) -> None:
    """A negative control of the fuzz: what would change a statement is compared as it stands."""
    wanted = condition(asked, "s", """verifier == "x' OR '1'='1" """)
    assert wanted == Compare(Setting(("decoder", "verifier")), "==", "x' OR '1'='1")
    assert asked.matching("s", wanted) == []
    assert asked.matching("s", condition(asked, "s", """verifier != "x' OR '1'='1" """)) == [1]


def test_conditions_made_by_hand_are_checked() -> None:
    with pytest.raises(BadValue, match="NaN"):
        Compare(Number("fid"), "<", float("nan"))
    with pytest.raises(BadValue, match="is one of"):
        Compare(Number("fid"), "; DROP TABLE trials", 1.0)
    assert all(Compare(Number("fid"), sign, 1.0) for sign in SIGNS)


def test_the_nearest_trial_is_told_when_nothing_matches(asked: Store) -> None:
    def told(where: str) -> str:
        with pytest.raises(NothingMatches) as caught:
            choice.best(asked, "s", choice.Wish(Filter(where)))
        said = str(caught.value)
        assert "\n" not in said and said.startswith("none of the 3 finished candidates meets")
        return said

    said = told("fid <= 48 and speedup >= 2")
    assert "number 1: fid = 50 (wanted <= 48)." in said
    assert "number 2: kid = 0.01 (wanted > 1)" in told("kid > 1")
    assert "number 0: fid = 49 (wanted not <= 49.2)" in told("not fid <= 49.2 and fid < 49.1")
    said = told("verifier == 'exact' and window >= 32")
    assert "decoder.verifier = grouped (wanted == exact), decoder.drafter.window = 16" in said
    assert "number 1: kid is not known." in told("verifier.size > 3 and kid > 0.001")
    assert "wanted == missing" in told("fid == missing")


def test_a_study_without_plain_decoding_has_nothing_to_choose_from(tmp_path: Any) -> None:
    with Store.open(f"sqlite:///{tmp_path}/empty.db") as store:
        store.create_study(StudyInfo("s", "", "", 0, {}, WANTED, {}, ""))
        for wish in (choice.Wish(), choice.Wish(Filter("fid < 1")), choice.Wish(knee=True)):
            with pytest.raises(NothingMatches, match="nothing to choose from"):
                choice.best(store, "s", wish)
