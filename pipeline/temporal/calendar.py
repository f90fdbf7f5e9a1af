"""Seasonal words: they recur every week, month or year, so they are shown as trends without a boost.

A word is seasonal where it is in the closed class of Korean names of days, months, seasons and holidays with their
customs (a crawl younger than a year has no evidence for them), or where it was as frequent in the same days a year ago.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection

import numpy as np

from pipeline.store.counts import Counts
from pipeline.temporal.idf import ONE_DAY

_NAMES = re.compile(
    r"[월화수목금토일]요일|주말|주중|평일|"
    r"신정|새해|연초|연말|연말연시|세밑|"
    r"삼일절|3[·.]?1절|제헌절|광복절|개천절|한글날|현충일|어린이날|어버이날|스승의날|성탄절|크리스마스|석가탄신일|부처님오신날|근로자의날|"
    r"정월|대보름|정월대보름|입춘|우수|경칩|춘분|청명|곡우|입하|소만|망종|하지|소서|대서|입추|처서|백로|추분|한로|상강|입동|소설|대설|동지|소한|대한|초복|중복|말복|"
    r"봄|여름|가을|겨울|봄철|여름철|가을철|겨울철|상반기|하반기|[1-4]분기|(?:올|지난|이번|다음)(?:해|달|주)|"
    r"오늘|어제|내일|오전|오후|정초|신년|송년"
)
# A phrase with one of these words belongs to a holiday, whatever its other words are.
_FEASTS = re.compile(
    r"설날?|구정|추석|한가위|연휴|명절|(?:설|추석|명절)(?:맞이|연휴|명절|선물|선물세트|대목|특수|민심|밥상|성수품|음식)|"
    r"(?:귀성|귀경)(?:길|객|행렬|차량)?|차례상?|성묘객?|세배|세뱃돈|떡국|송편|제수|제수용품|설빔"
)
_SPAN = 7  # days to each side of the same day a year ago
_YEAR = 364  # days: the same weekday


def named(word: str) -> bool:
    """Whether all parts of a word or phrase name times of the calendar, or one part a holiday or its custom."""
    parts = word.split()
    return any(map(_FEASTS.fullmatch, parts)) or all(map(_NAMES.fullmatch, parts))


def days_a_year_ago(recent: list[dt.date]) -> tuple[dt.date, dt.date]:
    """The first and the last day around the same days a year ago; ``recent`` are the recent days, oldest first."""
    return recent[0] - (_YEAR + _SPAN) * ONE_DAY, recent[-1] - (_YEAR - _SPAN) * ONE_DAY


def year_ago(word_id: int, then: Collection[Counts]) -> tuple[int, int]:
    """(stories with the word, stories) of the days of `days_a_year_ago`; (0, 0) when nothing was counted then."""
    ids = np.array([word_id], np.int64)
    return sum(int(counts.at(ids)[0]) for counts in then), sum(counts.n_stories for counts in then)


def explanation(word: str, ago: tuple[int, int], share: float) -> str | None:
    """Why a word that ``share`` of the recent stories mention is seasonal, as a sentence; None where it is not.

    ``ago`` is the result of `year_ago`.
    """
    if named(word):
        return f"{word} belongs to the calendar: its boost is left out"
    df, stories = ago
    if stories and df >= 3 and df / stories >= 0.5 * share:
        return f"{word} was in {df} of {stories} stories around the same days a year ago: its boost is left out"
    return None
