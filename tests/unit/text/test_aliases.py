"""Aliases in parentheses: what is one, how far it reaches, and what only looks like one."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.aliases import find_aliases, is_abbreviation

DAY = dt.date(2020, 2, 1)


def found(*texts: str, **options: object) -> set[tuple[str, str]]:
    aliases = find_aliases(texts, [DAY] * len(texts), **options)  # type: ignore[arg-type]
    return {(a.long, a.short) for a in aliases}


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("{n}일 한국은행(한은)은 금리를 내렸다", ("한국은행", "한은")),
        ("{n}개 인공지능(AI) 기업", ("인공지능", "AI")),
        ("{n}명이 AI(인공지능) 교육을 받았다", ("인공지능", "AI")),
        ("{n}일째 코로나바이러스감염증-19(코로나19)가 퍼졌다", ("코로나바이러스감염증-19", "코로나19")),
        ("{n}개 지방 자치 단체(지자체)가 나섰다", ("지방 자치 단체", "지자체")),
        ("{n}일 '고위공직자범죄수사처(이하 공수처)' 법", ("고위공직자범죄수사처", "공수처")),
        ("{n}일 연구개발(R&D) 예산", ("연구개발", "R&D")),
    ],
)
def test_aliases_are_found(text: str, alias: tuple[str, str]) -> None:
    assert alias in found(*(text.format(n=n) for n in range(3)))


@pytest.mark.parametrize(
    "text",
    [
        "{n}번 홍길동(35) 씨가 말했다",
        "삼성전자(005930)가 {n}% 올랐다",
        "{n}일(현지시간) 발표했다",
        "대한민국(大韓民國) {n}년",
        "{n}번 폐쇄회로(CC)TV를 봤다",
        "{n}번 대미투자특별법(특별법)을 냈다",
        "{n}번 더불어민주당(민주당) 의원",
        "{n}번 총 10만달러(약 1억원)를 냈다",
        "{n}번 (AI) 교육",
    ],
)
def test_other_parentheses_are_not(text: str) -> None:
    assert found(*(text.format(n=n) for n in range(3))) == set()


def test_a_party_after_many_names_is_a_label() -> None:
    names = ["김철수", "이영희", "박민수", "최지우", "정하늘", "강바다"]
    for label in ("자유한국당", "35·가명", "오른쪽"):
        assert found(*(f"{name}({label})이 {n}번 말했다" for n in range(3) for name in names)) == set()


def test_the_name_reaches_as_far_as_stories_always_write_it() -> None:
    texts = [f"{word} 국제 통화 기금(IMF)이 밝혔다" for word in ("어제", "오늘", "정부는", "대신", "한편", "또한")]
    assert found(*texts) == {("국제 통화 기금", "IMF")}


def test_the_rarer_meaning_of_an_acronym_is_left_out() -> None:
    texts = [f"{n} 인공지능(AI) 산업" for n in range(6)] + [f"{n} 조류인플루엔자(AI) 방역" for n in range(2)]
    assert found(*texts) == {("인공지능", "AI")}


def test_one_story_in_ten_outlets_is_one_story() -> None:
    texts = ["한국은행(한은)은 금리를 내렸다"] * 10
    assert found(*texts, stories=[7] * 10) == set()
    assert found(*texts, stories=[1] * 9 + [2]) == {("한국은행", "한은")}


def test_recent_writings_weigh_more_and_evidence_names_the_articles() -> None:
    old, new = dt.date(2020, 1, 1), dt.date(2020, 1, 31)
    texts = ["가상현실(VR) 게임"] * 2 + ["인공지능(AI) 기업"] * 2
    by_short = {a.short: a for a in find_aliases(texts, [old, old, new, new], ids=[10, 11, 12, 13], decay_factor=0.9)}
    assert by_short["AI"].weight == pytest.approx(2)
    assert by_short["VR"].weight == pytest.approx(2 * 0.9**30)
    assert [e["article"] for e in by_short["VR"].examples] == [10, 11]
    assert (by_short["VR"].first, by_short["AI"].last) == (old, new)


@given(
    st.text("한국은행노동조합총연맹", min_size=1, max_size=8),
    st.text("한국은행노동조합총연맹", min_size=1, max_size=12),
)
def test_an_abbreviation_is_a_shorter_scattered_part(short: str, long: str) -> None:
    if is_abbreviation(short, long):
        rest = iter(long)
        assert all(c in rest for c in short)
        assert len(short) < len(long)
        assert short not in long
