"""Prompts to learn from: made up by chance, in the six kinds of those that models are judged on.

No prompt that models are judged on is among them: their wordings and texts are others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random

from paretoken.evaluators.text_prompts import Prompt

_TOPICS = """apples, autumn storms, bees, bicycles, birds in winter, board games, bridges, butter,
candles, canals, castles, cheese, chess, clouds, coal, comets, compost, concrete, coral reefs,
cotton, deserts, dictionaries, dreams, earthquakes, electricity, fairy tales, farming, fireworks,
fishing, fog, folk music, forests, friendship, frogs, gardens, glaciers, glass, gold, good manners,
gravity, hedgehogs, herbs, honesty, honey, horses, hospitals, ice cream, insurance, islands, jazz,
job interviews, keeping a diary, kites, knitting, languages, learning to swim, letters, libraries,
lighthouses, magnets, maps, market towns, mathematics, memory, mountains, moving house, museums,
mushrooms, neighbours, newspapers, noise, oceans, old trees, olive oil, opera, owls, painting walls,
paper, patience, photography, plastic, poetry, public speaking, puppets, railways, rainbows, rice,
rivers, robots, running, salt, saving money, school lunches, shadows, sheep, ships, silence, singing
in a choir, sleep, snow, soap, spices, spiders, stress at work, study habits, sunlight, tea,
teamwork, telescopes, tents, the moon, the post office, theatre, thunder, tides, time management,
tomatoes, toys, traffic, travelling alone, vaccines, volcanoes, volunteering, water, whales, wheat,
wind power, windows, wolves, wool, writing a novel, yoga""".replace("\n", " ").split(", ")

_CHAT = (
    "Tell me something interesting about {}.", "Explain {} to a child of ten.",
    "What should a beginner know about {}?", "Write a short story about {}.",
    "Give me five facts about {}.", "Why do people care about {}?",
    "Write a poem of eight lines about {}.", "What are the good and the bad sides of {}?",
    "How has our view of {} changed over the years?", "List some common mistakes about {}.",
    "Write an e-mail to a friend about {}.", "Describe {} in one paragraph.",
    "Plan a lesson about {} for a school class.", "What questions could I ask an expert on {}?",
    "Compare {} with {}.", "Write a dialogue between two people who talk about {}.",
    "How could I learn more about {} in one month?", "Make a list of books one might write on {}.",
)  # fmt: skip
_SUMMARISE = (
    "Sum up the following text in two sentences.", "What is the main point of this text?",
    "Shorten this text to half of its length.", "Write a headline for this text.",
    "Give the key points of this text as a list.", "Say in plain words what this text is about.",
)  # fmt: skip
_REWRITE = (
    "Correct all mistakes in the following text and leave the rest as it is.",
    "Repeat this text word for word.", "Rewrite this text in the past tense.",
    "Make this text a little more formal, and change as little as you can.",
    "Improve the punctuation of this text.", "Replace every 'we' in this text by 'they'.",
    "Rewrite this text so that it is easier to read, and keep its order.",
)  # fmt: skip
_QUESTION = (
    "What does the text say about {}? Quote it.", "Which sentence of the text mentions {}?",
    "Answer from the text alone: what happens with {}?", "Is {} mentioned in the text? Where?",
    "What comes before {} in the text?", "Explain the role of {} in this text, in one sentence.",
)  # fmt: skip
_SUMS = (
    "A shop has {a} {x} and sells {b} of them, then gets {c} new ones. How many {x} are there?",
    "What is {a} + {b} - {c}? Show your steps.", "What is {b} times {c}? Explain.",
    "{p} has {b} {x}, and {q} has {c} times as many. How many {x} has {q}?",
    "{p} saves {b} coins each week for {c} weeks. How many coins is that?",
    "Share {a} {x} among {c} people: how many does each get, and how many are left?",
    "A train needs {c} hours for {a} kilometres. How fast does it go on average?",
)  # fmt: skip
_EDIT = (
    "Rename {f} to {g} in this program.", "Add a docstring to the function below.",
    "Add type hints to this function and show all of it.", "Replace {n} by {m} in this code.",
    "Rename the variable {v} to {w}. Show the whole program.", "Return None if {v} is empty.",
    "Write a comment above each line of this code.", "Print {v} before the function returns.",
)  # fmt: skip
_CODE = (
    "def {f}({v}):\n    total = {n}\n    for one in {v}:\n        total += one\n    return total\n",
    "def {f}({v}, limit={n}):\n    return [x for x in {v} if x > limit]\n",
    "def {f}({v}):\n    if len({v}) < {n}:\n        return {v}\n    return {v}[:{n}]\n",
    "def {f}({v}):\n    found = {{}}\n    for key in {v}:\n        found[key] = len(key) + {n}\n"
    "    return found\n",
    "{v} = {n}\nwhile {v} > 0:\n    print({v})\n    {v} -= 1\n",
    "class Box:\n    def __init__(self, {v}):\n        self.{v} = {v}\n\n    def {f}(self):\n"
    "        return self.{v} * {n}\n",
    "def {f}({v}):\n    result = []\n    for i in range({n}):\n        result.append({v}[i] * i)\n"
    "    return result\n",
)  # fmt: skip
_NAMES = "collect measure pick_all reduce_list scan gather build_table merge check_all run".split()
_VARIABLES = "items rows values words points scores parts prices".split()
_PEOPLE = "Ada Ben Carla Dev Elif Femi Greta Hugo Ines Jan".split()
_THINGS = "pens plates tickets shells stamps chairs oranges bricks marbles lamps".split()
_WORD = re.compile(r"[A-Za-z]{4,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def seed_prompts(seed: int, texts: Sequence[str]) -> Iterator[Prompt]:
    """Prompts without end, the kinds in turn; texts: those that some of them are about."""
    chance = Random(seed)
    sentences = [s for text in texts for s in _SENTENCE.split(text) if 4 <= len(s.split()) <= 40]
    number = 0
    while True:
        source = _passage(chance, texts, sentences)
        word = chance.choice(_WORD.findall(source) or ["it"])
        code = {
            "f": chance.choice(_NAMES), "g": chance.choice(_NAMES), "v": chance.choice(_VARIABLES),
            "w": chance.choice(_VARIABLES), "n": chance.randint(2, 99), "m": chance.randint(2, 99),
        }  # fmt: skip
        a, b, c = chance.randint(30, 990), chance.randint(3, 29), chance.randint(2, 12)
        p, q = chance.sample(_PEOPLE, 2)
        two = chance.sample(_TOPICS, 2)
        asked = {
            "chat": (chance.choice(_CHAT).format(*two), ""),
            "summarise": (chance.choice(_SUMMARISE), source),
            "rewrite": (chance.choice(_REWRITE), source),
            "question": (chance.choice(_QUESTION).format(f"'{word}'"), source),
            "arithmetic": (
                chance.choice(_SUMS).format(a=a, b=b, c=c, p=p, q=q, x=chance.choice(_THINGS)),
                "",
            ),
            "edit": (
                chance.choice(_EDIT).format(**code),
                chance.choice(_CODE).format(**code),
            ),
        }
        for kind, (prompt, about) in asked.items():
            number += 1
            yield Prompt(f"{kind}-{number}", kind, prompt, about)


def _passage(chance: Random, texts: Sequence[str], sentences: Sequence[str]) -> str:
    """One of the texts in part, or sentences of several."""
    if not sentences or chance.random() < 0.4:
        return " ".join(chance.choice(texts).split()[: chance.randint(30, 110)])
    return " ".join(chance.sample(sentences, min(len(sentences), chance.randint(2, 6))))
