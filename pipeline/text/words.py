"""Korean words, compounds and phrases of a text, by kiwipiepy's morphological analysis.

A *word* is what people read and search for: a noun, a root or a foreign word of two characters or more
(`확진자`, `삼성전자`, `AI`), and the compound that such pieces make when they are written together (`코로나19`,
`2차전지`, `비상계엄`). A *phrase* is two neighbouring words with one space between and nothing else
(`비상계엄 선포`). Particles, endings, numbers alone and single syllables are no words. Latin letters are upper case,
so that `ai` and `AI` are one word, and a hyphen after Hangul is dropped, so that `코로나-19` is `코로나19`.

The analyser is loaded when first used (about a second, 250 MB) and gives the same words for the same text: `key`
names everything that its answer depends on.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

from pipeline.text.normalise import normalise

RULES = 1  # raise it whenever the rules below change: counts made by other rules are another version

_NOUN = frozenset({"NNG", "NNP", "SL", "XR"})
_PIECE = _NOUN | {"XPN", "XSN", "SN"}
_JOIN = frozenset("-·")
_LONGEST = 24  # characters; what is longer is a web address or a sentence without spaces
_MOST_UNITS = 4
_lock = threading.Lock()


def key() -> str:
    """The analyser's name and version: equal keys give equal words."""
    return f"kiwi-{version('kiwipiepy')}-{version('kiwipiepy_model')}-rules{RULES}"


@dataclass(frozen=True, slots=True)
class Analysis:
    """A text's ``words`` in their order, repeats included, and its ``phrases`` with where each starts (character)."""

    words: tuple[str, ...]
    phrases: tuple[tuple[str, int], ...]


def analyse(texts: Iterable[str]) -> Iterator[Analysis]:
    """The words and phrases of each text, in the order of the texts; streams."""
    for morphemes in _kiwi().tokenize(iter(texts)):
        yield _analysis(morphemes)


def words(text: str) -> list[str]:
    """The words of one text in their order, repeats and parts of compounds included."""
    return list(next(analyse([text])).words)


def canonical(word: str) -> str:
    """A word or phrase as a person types it, written the way `words` writes it."""
    parts = []
    for part in normalise(word).split():
        out = ""
        for char in part.upper():
            if char == "-" and out and _is_hangul(out[-1]):
                continue
            out += char
        parts.append(out)
    return " ".join(parts)


@cache
def _load() -> Any:
    from kiwipiepy import Kiwi  # a second and 250 MB: only where words are wanted

    return Kiwi(num_workers=min(4, os.cpu_count() or 1))


def _kiwi() -> Any:
    with _lock:
        return _load()


def _is_hangul(char: str) -> bool:
    return "가" <= char <= "힣"


def _analysis(morphemes: Sequence[Any]) -> Analysis:
    found: list[str] = []
    phrases: list[tuple[str, int]] = []
    before: tuple[str, int, int] | None = None  # the last word of the run before: text, its start, the run's end
    for run in _runs(morphemes):
        units = _units(run)
        names = [unit for unit in (u.text for u in units) if _is_word(unit)]
        parts = [part for unit in units for part in unit.parts if _is_word(part) and part != unit.text]
        whole = "".join(unit.text for unit in units)
        compound = whole if 1 < len(units) <= _MOST_UNITS and _is_word(whole) else None
        found += names + parts + ([compound] if compound else [])
        label = compound or (names[0] if len(units) == 1 and names else None)
        start, end = run[0].start, run[-1].start + run[-1].len
        if label is None:
            before = None
            continue
        if before is not None and start == before[2] + 1:
            phrases.append((f"{before[0]} {label}", before[1]))
        before = (label, start, end)
    return Analysis(tuple(found), tuple(phrases))


def _runs(morphemes: Sequence[Any]) -> Iterator[list[Any]]:
    """Longest stretches of pieces written together; a number that counts something (3명, 17%) is left out."""
    run: list[Any] = []
    for index, morpheme in enumerate(morphemes):
        adjacent = bool(run) and run[-1].start + run[-1].len == morpheme.start
        if run and not adjacent:
            yield from _clean(run)
            run = []
        after = morphemes[index + 1] if index + 1 < len(morphemes) else None
        if after is not None and morpheme.start + morpheme.len != after.start:
            after = None
        if _belongs(morpheme, after, run):
            run.append(morpheme)
        elif run:
            yield from _clean(run)
            run = []
    if run:
        yield from _clean(run)


def _belongs(morpheme: Any, after: Any, run: list[Any]) -> bool:
    tag = morpheme.tag.split("-")[0]
    if tag == "SN":
        counts = after is not None and after.tag in ("NNB", "NR", "SW")
        if counts and after.tag == "NNB":
            # 2차전지 is a name, 3명 is a count: the classifier must not be followed by nothing or a particle.
            return not run and morpheme.form.isdigit() and len(morpheme.form) == 1 and after.form == "차"
        return not counts and "." not in morpheme.form and "," not in morpheme.form
    if tag == "NNB":
        return bool(run) and run[-1].tag == "SN" and after is not None and after.tag in ("NNG", "NNP")
    if tag in ("SO", "SP", "SS", "SW"):
        return morpheme.form in _JOIN and bool(run) and after is not None and after.tag in ("SN", "SL", "NNG", "NNP")
    return tag in _PIECE


def _clean(run: list[Any]) -> Iterator[list[Any]]:
    while run and run[-1].tag in ("XPN", "NNB", "SO"):
        run = run[:-1]
    while run and run[0].tag in ("XSN", "SO"):
        run = run[1:]
    if any(m.tag.split("-")[0] in _NOUN for m in run):
        yield run


@dataclass(slots=True)
class _Unit:
    text: str
    parts: list[str]
    open: bool  # the next noun still belongs to it (a prefix, a leading number, a hyphen)


def _units(run: list[Any]) -> list[_Unit]:
    """Pieces put together to what is one word: prefix + noun, noun + suffix, noun + number, letter + hyphen + noun."""
    units: list[_Unit] = []
    for morpheme in run:
        form, tag = morpheme.form.upper(), morpheme.tag.split("-")[0]
        if form in _JOIN:
            if form == "-" and units and _is_hangul(units[-1].text[-1]):
                units[-1].open = True
            elif units:
                units[-1].text += form
                units[-1].open = True
            continue
        glued = units and (units[-1].open or tag in ("XSN", "SN", "NNB") or (tag == "SL" and units[-1].text.isdigit()))
        if not glued:
            short = tag in ("XPN", "SN")
            units.append(_Unit(form, [form] if tag in _NOUN else [], short))
            continue
        unit = units[-1]
        unit.text += form
        unit.open = tag == "NNB"
        if tag in _NOUN:
            unit.parts.append(form)
    return units


def _is_word(text: str) -> bool:
    return 2 <= len(text) <= _LONGEST and any(char.isalpha() for char in text)
