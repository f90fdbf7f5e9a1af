"""Korean text in one form."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.normalise import clean_body, clean_title, is_advertisement, language, normalise, rules

BODY = "정부가 새 대책을 발표했다."


@pytest.mark.parametrize(
    ("where", "example"), [(rule.where, example) for rule in rules("boilerplate") for example in rule.examples]
)
def test_each_boilerplate_rule_removes_its_examples(where: str, example: str) -> None:
    text = {
        "end": f"{BODY} {example}",
        "start": f"{example}{BODY}",
        "line": f"{BODY}\n{example}\n끝으로 덧붙였다.",
        "any": f"정부가 나섰다. 오늘 {example} 새 대책을 냈다.",
    }[where]
    expected = {"line": f"{BODY}\n끝으로 덧붙였다.", "any": "정부가 나섰다. 오늘 새 대책을 냈다."}.get(where, BODY)
    assert clean_body(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "물에 빠져 숨졌다.농업용 저수지. (사진=뉴시스)21일 소방본부가 밝혔다.",
            "물에 빠져 숨졌다. 21일 소방본부가 밝혔다.",
        ),
        ("정부가 새 대책을 발표했다. 사진=가람", "정부가 새 대책을 발표했다."),
        ("행사를 연다.(사진=가람쇼핑)24일 밝혔다.", "행사를 연다. 24일 밝혔다."),
        ("“못 산다.”서울의 아파트. (사진=뉴스1)30대 직장인의 말이다.", "“못 산다.” 30대 직장인의 말이다."),
        (
            "대책을 발표했다. 시장은 반겼다. (사진=뉴스1) 주가도 올랐다.",
            "대책을 발표했다. 시장은 반겼다. 주가도 올랐다.",
        ),
    ],
)
def test_captions_inside_a_text(text: str, expected: str) -> None:
    assert clean_body(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[단독] 정부가 대책을 발표했다.",
        "(주)가람이 대책을 발표했다.",
        "[2026 동계올림픽] 김 선수가 이겼다.",
        "정부가 [자료]를 내고 대책을 발표했다.",
        "그가 만난 사람은 홍길동 기자",
        "저작권자는 무단 복제에 대해 소송을 냈다.",
        "홍길동 기자는 이날 상을 받았다.",
        "사진 속 인물은 김 씨로 밝혀졌다.",
        "법원은 무단 배포를 금지하라고 판결했다.",
        "경찰은 제보를 기다린다고 밝혔다.",
        "경찰은 시청자 여러분의 제보가 사건 해결에 큰 도움이 됐다고 밝혔다.",
        "독자 여러분의 제보를 바탕으로 취재한 결과 사실로 드러났다.",
        '경찰은 "시민 여러분의 제보를 부탁드립니다"라고 말했다.',
        "경찰이 수사에 나섰다. 시민 여러분의 제보를 부탁했다.",
        "A등급은 (A) 신한은행, (C) 국민은행(KB)",
        "가장 낮은 곳은 (b) 우리은행, (c) 국민은행>",
        "금리를 올렸다(한국은행)",
        "물가가 올랐다 (자료: 한국은행)",
        "정부는 무단 배포 금지",
        "정부가 저작권자 허락 없는 무단 복제를 금지",
        "제보는 tip@garam.kr",
        "문의는 홍길동 hong@garam.kr",
        "▶ 네이버는 3% 올랐다",
        "■ 구독 경제가 커진다",
        "◆ 카카오톡 개편, 이용자 반발",
        "※ 제보 전화 폭주",
        "[이 기사는 오보였다고 법원이 판결했다]라고 적었다",
        "결정적인 증거 사진=확보",
        "첫 줄이다.\n정부가 공개한 자료: 물가 상승\n끝 줄이다.",
        "(사진/영상) 논란이 있다",
        "독자 여러분의 제보를 기다립니다.",
    ],
)
def test_sentences_about_such_things_stay(text: str) -> None:
    assert clean_body(text) == text


@pytest.mark.parametrize("example", [example for rule in rules("advertisement") for example in rule.examples])
def test_advertisements_are_marked(example: str) -> None:
    assert is_advertisement(example)


@pytest.mark.parametrize("title", ["광고 시장 10% 성장", "AD카드 도입 논의", "PR의 시대"])
def test_news_about_advertising_is_news(title: str) -> None:
    assert not is_advertisement(title)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (unicodedata.normalize("NFD", "한국 경제"), "한국 경제"),
        ("ＡＢＣ　１２３％", "ABC 123%"),
        ("㈜가람 ㎏ ㎡", "(주)가람 kg m2"),
        ("ﾡﾢ ﾾￂ", "ㄱㄲ 하"),
        ("\u110f\u110f \u1172\u1172", "ㅋㅋ ㅠㅠ"),
        ("\u1112\u119e\u11ab", "\u1112\u119e\u11ab"),  # an old syllable
        ("ㅋㅋㅋ ㅠㅠ", "ㅋㅋㅋ ㅠㅠ"),
        ("ⓒ 가람", "ⓒ 가람"),
        ("가\u200b나\ufeff다\u00ad라\u202e마", "가나다라마"),
        ("하나\u00a0\u3000둘\t셋", "하나 둘 셋"),
        ("첫 줄\r\n\r\n \n둘째 줄\u2028셋째", "첫 줄\n둘째 줄\n셋째"),
        ("널\x00문자", "널문자"),
        ("짝없는\ud800서로게이트", "짝없는서로게이트"),
        ("“따옴표”는 그대로…", "“따옴표”는 그대로…"),
    ],
)
def test_one_form_of_each_letter(text: str, expected: str) -> None:
    assert normalise(text) == expected


@given(st.text(alphabet=st.characters(), max_size=80))
def test_normalising_again_changes_nothing_and_can_be_stored(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert "\x00" not in once
    once.encode("utf-8")


@given(st.text(max_size=200))
def test_cleaning_a_body_again_changes_nothing(text: str) -> None:
    once = clean_body(text)
    assert clean_body(once) == once


def test_a_title_is_one_line() -> None:
    assert clean_title(" 제목\n 둘째\t줄 ") == "제목 둘째 줄"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("삼성전자 주가 상승", "ko"),
        ("美 대법 關稅 제동", "ko"),
        ("Samsung Electronics (삼성) shares rise sharply on strong earnings report today", "en"),
        ("Samsung shares rise", "en"),
        ("日本の首相が訪韓した", "ja"),
        ("中国经济增长放缓", "zh"),
        ("12345 !!!", "und"),
        ("HBM4·AI GPU 수요 폭발… SK hynix", "ko"),
    ],
)
def test_language_by_letters(text: str, expected: str) -> None:
    assert language(text) == expected
