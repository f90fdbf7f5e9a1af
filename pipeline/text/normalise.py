"""Korean text in one form: Unicode, spaces, boilerplate, language, advertisements.

Everything that stores or compares a text goes through here, so that the same words are the same characters.
What is boilerplate or an advertisement is said by rules that are data (``boilerplate.toml`` beside this file).
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# Characters that nobody sees: zero-width, direction marks, soft hyphen, byte order mark, variation selectors, controls,
# Hangul fillers of a syllable. They are deleted: they stand inside words.
INVISIBLE = (
    "[\u0000-\u0008\u000b\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
SEPARATORS = frozenset("ㆍᆞ\ua78fᐧㅤ\uffa0\ufffc\u2800©®™℠" + "".join(map(chr, range(0x24B6, 0x24EA))))
"""Letters by their category, or letters once they are folded, that are read as a dot, a blank or a sign."""
_INVISIBLE = re.compile(INVISIBLE[:-1] + "\ud800-\udfff]")
# Drawn as a blank, or as nothing that another reader's font would show.
_BLANK = re.compile("[\u3164\uffa0\ufffc\ue000-\uf8ff\U000f0000-\U0010ffff]")
_SPACES = re.compile(r"[ \t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]+")
_BREAKS = re.compile(r" ?(?:\r\n|[\n\r\u000b\u000c\u0085\u2028\u2029])[\s\u0085]*")
# Compatibility forms that are the same letters in another dress: full and half width, Hangul and Latin in brackets
# or circles, squared units, letterlike unit signs (not ⓒ and its like: they are signs). NFKC of the whole text would
# also take Hangul compatibility letters (ㅋㅋ) apart into conjoining ones, and superscripts down: so only these.
_COMPATIBLE = re.compile(
    "[\u1100-\u1112\u1161-\u1175\u11a8-\u11c2\u2100-\u211f\u2121\u2123-\u214f\u2460-\u24b5\u24ea-\u24ff\u3200-\u33ff\ufb00-\ufb06\uff01-\uffdc\uffe0-\uffe6]+"
)
_SENTENCE = re.compile(r"[가-힣](?:다|요|죠|까)(?:[.!?…”\"’\s]|\Z)")  # the end of one, by its predicate
_MOST_ROUNDS = 50  # of cutting ends: real texts take up to five, one made of nothing else would take thousands
_HALF_WIDTH_HANGUL = re.compile("[\uffa1-\uffdc]+")
# Parts of syllables that are left alone by composing become the letters of a keyboard; runs with old letters stay.
_ARAEA = re.compile("(?<![\u1100-\u115f\ua960-\ua97c])\u119e")  # the vowel outside a syllable: typed as a middle dot
_PARTS = re.compile("[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7fb]+")
LETTERS = {
    **dict(zip(range(0x1100, 0x1113), "ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ", strict=True)),
    **{0x1161 + i: chr(0x314F + i) for i in range(21)},
    **dict(zip(range(0x11A8, 0x11C3), "ㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ", strict=True)),
}
_HANGUL = re.compile("[\uac00-\ud7a3]")
_KANA = re.compile("[\u3040-\u30ff]")
_HAN = re.compile("[\u3400-\u9fff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of ``boilerplate.toml``."""

    name: str
    where: str  # end, start, line, any; for advertisements: any
    needs: str  # what every match contains; empty: nothing in particular
    pattern: re.Pattern[str]
    examples: tuple[str, ...]


@cache
def rules(kind: str) -> tuple[Rule, ...]:
    """The rules of a kind (``boilerplate`` or ``advertisement``) in the file's order."""
    text = files("pipeline.text").joinpath("boilerplate.toml").read_text(encoding="utf-8")
    return tuple(_rule(row) for row in tomllib.loads(text)[kind])


def _rule(row: dict[str, object]) -> Rule:
    where, pattern = str(row.get("where", "any")), str(row["pattern"])
    if where == "end":
        pattern = rf"(?:{pattern})\s*\Z"
    elif where == "start":
        pattern = rf"\A\s*(?:{pattern})\s*"
    elif where == "line":
        pattern = rf"^[ \t]*(?:{pattern})[ \t]*$\n?"
    examples = row.get("examples", [])
    assert isinstance(examples, list)
    compiled = re.compile(pattern, re.IGNORECASE | re.MULTILINE)
    return Rule(str(row["name"]), where, str(row.get("needs", "")), compiled, tuple(map(str, examples)))


def normalise(text: str) -> str:
    """``text`` in NFC with one form of each letter, one kind of space and no invisible characters.

    Full-width and half-width forms, Hangul in brackets or circles and squared units become plain letters; conjoining
    Hangul is composed, and what is left of it alone becomes compatibility letters such as ``ㅋㅋ``, which stay.
    Runs of spaces become one, of line breaks one. Idempotent.
    """
    before = None
    for _ in range(4):  # one form may uncover another; two rounds are the most that real text takes
        if text == before:
            break
        before, text = text, _once(text)
    return text


def _once(text: str) -> str:
    text = _BLANK.sub(" ", _INVISIBLE.sub("", text))
    text = _HALF_WIDTH_HANGUL.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = _COMPATIBLE.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    text = unicodedata.normalize("NFC", text)
    text = _PARTS.sub(_letters, _ARAEA.sub("ㆍ", text))
    text = _SPACES.sub(" ", text)
    return _BREAKS.sub("\n", text).strip()


def _letters(found: re.Match[str]) -> str:
    return found[0].translate(LETTERS) if all(ord(part) in LETTERS for part in found[0]) else found[0]


def clean_title(text: str) -> str:
    """A title on one line, normalised."""
    return normalise(" ".join(text.split()))


def clean_body(text: str) -> str:
    """A body, normalised, without the boilerplate that the rules name; one that has a sentence is never emptied."""
    text = normalise(text)
    return _without_boilerplate(text) or (text if _SENTENCE.search(text) else "")


def _without_boilerplate(text: str) -> str:
    for rule in rules("boilerplate"):
        if rule.where == "start":  # before what such a rule knows a start by is gone
            text = rule.pattern.sub("", text, count=1)
    for rule in rules("boilerplate"):
        if rule.where in {"line", "any"}:
            text = rule.pattern.sub("" if rule.where == "line" else " ", text)
    for _ in range(_MOST_ROUNDS):
        before = text
        for rule in rules("boilerplate"):
            if rule.where == "end":
                text = _cut_end(text, rule)
            elif rule.where == "start":
                text = rule.pattern.sub("", text, count=1)
        if text == before:
            break
    return normalise(text)


def _cut_end(text: str, rule: Rule) -> str:
    # Only the tail is searched: a rule is a line or two long, and a search over a long text for something that must
    # end it would be tried at every character.
    tail = text[-400:]
    found = rule.pattern.search(tail) if rule.needs in tail else None
    return text[: len(text) - len(tail) + found.start()].rstrip() if found else text


def language(text: str) -> str:
    """``ko``, ``ja``, ``zh``, ``en`` (any Latin script) or ``und``: by the letters, for a language filter.

    Korean news quotes foreign names and Hanja freely: a fifth of the letters in Hangul makes it Korean.
    """
    hangul, kana, han, latin = (len(p.findall(text)) for p in (_HANGUL, _KANA, _HAN, _LATIN))
    letters = hangul + kana + han + latin
    if not letters:
        return "und"
    # A Hangul syllable says as much as two or three Latin letters.
    if hangul * 2.5 >= 0.2 * (hangul * 2.5 + kana * 2 + han * 3 + latin):
        return "ko"
    if kana * 5 >= kana + han:
        return "ja" if kana + han > latin / 3 else "en"
    return "zh" if han > latin / 3 else "en"


def is_advertisement(title: str, category: str = "") -> bool:
    """Whether a title or category marks paid content, by the rules."""
    return any(rule.pattern.search(title) for rule in rules("advertisement")) or normalise(category).casefold() in {
        "광고", "ad", "advertorial", "애드버토리얼", "sponsored"
    }  # fmt: skip
