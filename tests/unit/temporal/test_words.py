"""Korean words, compounds and phrases."""

from __future__ import annotations

import pytest

from pipeline.temporal.counting import document, word_terms
from pipeline.text import words


@pytest.mark.parametrize(
    ("text", "wanted", "unwanted"),
    [
        ("코로나19 확진자가 늘고 있습니다", {"코로나19", "코로나", "확진자"}, {"19", "가"}),
        ("코로나-19대응 회의", {"코로나19", "대응", "회의"}, {"코로나-19"}),
        ("COVID-19와 covid-19", {"COVID-19"}, {"covid-19"}),
        ("2차전지와 G20정상회의", {"2차전지", "G20", "G20정상회의", "회의"}, {"20", "2차"}),
        ("3명이 17% 올라 100일을 맞았다", set(), {"3명", "17", "17%", "100", "100일"}),
        ("삼성전자 HBM3E 공급", {"삼성전자", "HBM3E", "공급"}, {"E"}),
        ("재건축조합의 불확실성", {"재건축조합", "조합", "불확실성"}, set()),
        ("", set(), set()),
        ("!!! ... 😀", set(), set()),
    ],
)
def test_words(text, wanted, unwanted):
    found = set(words.words(text))
    assert wanted <= found
    assert not unwanted & found


def test_phrases_are_neighbours_with_nothing_between():
    analysis = next(words.analyse(["윤석열 대통령 비상계엄 선포에 국회가 해제 결의안을 통과"]))
    phrases = {phrase for phrase, _ in analysis.phrases}
    assert {"비상계엄 선포", "해제 결의안"} <= phrases
    assert "선포 국회" not in phrases, "a particle stands between them"


def test_a_headline_and_the_text_below_it_make_no_phrase_together():
    one, two, three = (
        had.terms for had in word_terms([document("정부 대책 발표", "한국은행은"), "발표\n한국은행", "발표 한국은행"])
    )
    assert "대책 발표" in one
    assert "발표 한국은행" not in one | two
    assert "발표 한국은행" in three


def test_the_same_text_gives_the_same_words_alone_or_among_others():
    texts = ["삼성전자 주가가 급락했다", "코로나19 백신 접종", "", "한·미 정상회담이 열렸다"] * 5
    together = [a.words for a in words.analyse(texts)]
    assert together == [tuple(words.words(text)) for text in texts]


def test_canonical_is_what_the_analyser_writes():
    assert words.canonical("코로나-19") == "코로나19"
    assert words.canonical("  ai   반도체 ") == "AI 반도체"
    assert words.canonical("covid-19") == "COVID-19"


def test_the_key_names_analyser_model_and_rules():
    assert words.key().startswith("kiwi-")
    assert f"rules{words.RULES}" in words.key()
