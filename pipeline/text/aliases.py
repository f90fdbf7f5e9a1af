"""Aliases that the news writes itself: "한국은행(한은)", "인공지능(AI)", "코로나바이러스감염증-19(코로나19)".

Parentheses hold many other things (ages, dates, stock codes, parties, hanja, captions). No list of those is kept:
an alias is told from a label by numbers. A label follows many different words, an alias one; an alias is written by
several stories; a Hangul abbreviation is made of the long form's syllables in their order.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

_PAREN = re.compile(r"[(（]([^()（）\n]{1,40})[)）]")
_LEFT = re.compile(r"[가-힣A-Za-z0-9·&\-+./ ]{1,60}$")
_MARKER = re.compile(r"^(?:이하|약칭|일명|옛|구|영어명|줄여서)\s*[:,]?\s+")
_HANGUL = re.compile(r"[가-힣]")
_ACRONYM = re.compile(r"[A-Za-z][A-Za-z0-9&+./\-]{1,11}")
_PHRASE = re.compile(r"[가-힣][가-힣A-Za-z0-9·&\-]*(?: [가-힣A-Za-z0-9·&\-]+){0,3}")
_QUANTITY = re.compile(r"\d[\d,.]*(?:[만억조천백여%].*|.{0,2})")  # 24일, 35, 3만달러, but not 2차전지
_SPACES = re.compile(r"\s+")
MAX_WORDS = 4
EXAMPLE_CHARS = 80
GROW_STORIES = 3  # a name takes one more word to its left when at least this many stories
SYLLABLES_A_LETTER = 2  # a name with this many syllables for each capital of its acronym is whole
GROW_SHARE = 0.8  # and at least this share of them write that word there


def compact(word: str) -> str:
    """A word without spaces: 국제 통화 기금 and 국제통화기금 are the same word."""
    return _SPACES.sub("", word)


def is_acronym(text: str) -> bool:
    """Latin letters, at least two, at least one of them a capital: AI, WHO, Fed, R&D, HBM4."""
    return bool(_ACRONYM.fullmatch(text) and sum(c.isalpha() for c in text) >= 2 and any(c.isupper() for c in text))


def is_abbreviation(short: str, long: str) -> bool:
    """Whether ``short`` picks syllables of ``long`` in their order (한은 of 한국은행), and not a piece of it.

    A contiguous piece is refused: 투자법 of 대미투자법 is the more general word, not another name.
    """
    a, b = compact(short), re.sub(r"[\s\-·]", "", long)
    if len(a) < 2 or len(a) >= len(b) or a in b or not _HANGUL.search(a):
        return False
    place = b.find(a[0])
    if place < 0 or place > len(b) // 2:
        return False
    for character in a[1:]:
        place = b.find(character, place + 1)
        if place < 0:
            return False
    return True


@dataclass
class _Written:
    """How often a pair of forms was written, and where."""

    kind: str
    forward: set[int] = field(default_factory=set)  # stories writing long(short)
    backward: set[int] = field(default_factory=set)  # stories writing short(long)
    days: list[dt.date] = field(default_factory=list)
    examples: list[dict[str, object]] = field(default_factory=list)


@dataclass(frozen=True)
class Alias:
    """``short`` is another name of ``long``; ``share`` of the stories that expand ``short`` say so."""

    long: str
    short: str
    kind: str  # acronym, abbreviation, apposition (neither: only as good as what else speaks for it)
    forward: int  # stories that write long(short)
    backward: int  # stories that write short(long)
    share: float
    weight: float  # sum over the writings of decay ** age
    first: dt.date
    last: dt.date
    examples: tuple[dict[str, object], ...]

    @property
    def stories(self) -> int:
        """Stories that write it in either direction."""
        return self.forward + self.backward

    @property
    def confidence(self) -> float:
        """``share`` shrunk by how little was seen: share * n / (n + 1)."""
        return self.share * self.stories / (self.stories + 1)


def _lefts(text: str) -> list[str]:
    """The phrases of 1 to `MAX_WORDS` words that end where ``text`` ends, shortest first."""
    found = _LEFT.search(text)
    if found is None:
        return []
    parts = found[0].split()
    if not parts or text[-1].isspace():
        return []
    return [" ".join(parts[-n:]) for n in range(1, min(MAX_WORDS, len(parts)) + 1)]


def _insides(text: str) -> list[str]:
    """What stands in a parenthesis, cut where scripts change at a separator: "Fed·연준" is two aliases."""
    text = _MARKER.sub("", text.strip())
    parts = [_MARKER.sub("", part.strip()) for part in re.split(r"[·,/;]", text)]
    if len(parts) > 1 and len({bool(_HANGUL.search(part)) for part in parts}) > 1:
        return [part for part in parts if part]
    return [text]


def _usable(phrase: str) -> bool:
    if not _PHRASE.fullmatch(phrase) or len(compact(phrase)) < 2:
        return False
    return not any(_QUANTITY.fullmatch(word) for word in phrase.split())


def find_aliases(
    documents: Sequence[str],
    dates: Sequence[dt.date],
    *,
    stories: Sequence[int] | None = None,
    ids: Sequence[int] | None = None,
    min_stories: int = 2,
    min_share: float = 0.5,
    decay_factor: float = 0.95,
) -> list[Alias]:
    """Aliases that at least ``min_stories`` stories write, the best supported first.

    ``stories[i]`` groups near-duplicates (default: each document is its own story), ``ids[i]`` names a document in
    the examples. ``min_share`` is asked of the short form (AI stands for 인공지능 in that share of its expansions)
    and, loosely (half of it), of the long form, which tells labels such as parties, teams and captions from aliases.
    """
    stories = range(len(documents)) if stories is None else stories
    ids = range(len(documents)) if ids is None else ids
    newest = max(dates, default=dt.date.min)
    lefts, written = _collect(documents, dates, stories, ids)
    total: Counter[str] = Counter()
    chosen: dict[tuple[str, str], _Written] = {}
    for (inside, last), extents in lefts.items():
        phrase = _extent(inside, last, extents, written)
        chosen[inside, phrase] = written[inside, phrase]
    merged: dict[tuple[str, str], _Written] = {}
    surfaces: dict[str, Counter[str]] = defaultdict(Counter)
    for (inside, phrase), record in chosen.items():
        kind, long, short, forward = _orient(phrase, inside)
        into = merged.setdefault((compact(long), compact(short)), _Written(kind))
        (into.forward if forward else into.backward).update(record.forward)
        into.days += record.days
        into.examples += record.examples
        surfaces[compact(long)][long] += len(record.forward)
        surfaces[compact(short)][short] += len(record.forward)
    by_long: Counter[str] = Counter()
    for (long, short), record in merged.items():
        count = len(record.forward | record.backward)
        total[short] += count
        by_long[long] += count
    found = []
    for (long, short), record in merged.items():
        count = len(record.forward | record.backward)
        share = count / total[short]
        if count < min_stories or share < min_share or count / by_long[long] < min_share / 2:
            continue
        found.append(
            Alias(
                surfaces[long].most_common(1)[0][0],
                surfaces[short].most_common(1)[0][0],
                record.kind,
                len(record.forward),
                len(record.backward - record.forward),
                share,
                sum(decay_factor ** (newest - day).days for day in record.days),
                min(record.days),
                max(record.days),
                tuple(record.examples[:3]),
            )
        )
    return sorted(found, key=lambda a: (-a.confidence, -a.stories, a.long, a.short))


def _collect(
    documents: Sequence[str], dates: Sequence[dt.date], stories: Iterable[int], ids: Iterable[int]
) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], _Written]]:
    """Every usable writing: (inside, last word of the left) -> left extents; (inside, left) -> where."""
    lefts: dict[tuple[str, str], set[str]] = defaultdict(set)
    written: dict[tuple[str, str], _Written] = {}
    for text, day, story, number in zip(documents, dates, stories, ids, strict=True):
        for match in _PAREN.finditer(text):
            after = text[match.end() : match.end() + 1]
            if after.isascii() and after.isalnum():
                continue  # 폐쇄회로(CC)TV: the parenthesis is part of a longer word
            extents = _lefts(text[max(0, match.start() - 60) : match.start()])
            for inside in _insides(match[1]):
                usable = [left for left in extents if _pairable(left, inside)]
                for left in usable:
                    lefts[inside, usable[0]].add(left)
                    record = written.setdefault((inside, left), _Written(""))
                    record.days.append(day)
                    record.forward.add(story)
                    if len(record.examples) < 3:
                        around = text[max(0, match.start() - EXAMPLE_CHARS // 2) : match.end() + EXAMPLE_CHARS // 2]
                        record.examples.append({"article": number, "day": day.isoformat(), "text": around.strip()})
    return {key: sorted(value, key=len) for key, value in lefts.items()}, written


def _pairable(left: str, inside: str) -> bool:
    """Whether the two forms can be names of one thing at all (scripts, lengths, no quantities)."""
    if compact(left) in compact(inside) or compact(inside) in compact(left):
        return False  # 대미투자특별법(특별법): a piece of a name is the more general word
    left_latin, inside_latin = is_acronym(left), is_acronym(inside)
    if left_latin and inside_latin:
        return False
    if inside_latin:
        return _usable(left) and bool(_HANGUL.search(left))
    if not _usable(inside):
        return False
    return left_latin or _usable(left)


def _extent(inside: str, last: str, extents: list[str], written: dict[tuple[str, str], _Written]) -> str:
    """How far to the left the name reaches.

    An abbreviation reaches as far as its syllables need (지방 자치 단체(지자체)). Any other name takes one more word
    as long as that word nearly always stands there (국제 통화 기금(IMF), but not 정부는 국제통화기금(IMF)).
    """
    if not is_acronym(inside) and not is_acronym(last):
        for extent in extents:
            if is_abbreviation(inside, extent):
                return extent
    name = last
    capitals = sum(c.isupper() for c in inside)
    while not is_acronym(inside) or len(compact(name)) < SYLLABLES_A_LETTER * capitals:
        longer = [e for e in extents if e.endswith(f" {name}") and e.count(" ") == name.count(" ") + 1]
        best = max(longer, key=lambda e: (len(written[inside, e].forward), e), default=None)
        if best is None:
            break
        count = len(written[inside, best].forward)
        if count < GROW_STORIES or count < GROW_SHARE * len(written[inside, name].forward):
            break
        name = best
    return name


def _orient(left: str, inside: str) -> tuple[str, str, str, bool]:
    """(kind, long, short, whether the text wrote long(short))."""
    if is_acronym(inside):
        return "acronym", left, inside, True
    if is_acronym(left):
        return "acronym", inside, left, False
    if is_abbreviation(inside, left):
        return "abbreviation", left, inside, True
    if is_abbreviation(left, inside):
        return "abbreviation", inside, left, False
    if len(compact(left)) >= len(compact(inside)):
        return "apposition", left, inside, True
    return "apposition", inside, left, False
