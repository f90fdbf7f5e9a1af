"""Hard negatives: half and half, and no negative that is likely to be relevant."""

import random

import pytest

from pipeline.dataset import add_hard_negatives_bm25
from pipeline.dataset.negatives import mine
from pipeline.errors import BadInputError, UsageError

WORDS = [
    "금리",
    "환율",
    "수출",
    "코로나",
    "백신",
    "예산",
    "국회",
    "반도체",
    "지진",
    "축구",
    "올림픽",
    "전기차",
    "은행",
    "부동산",
]


def split(texts):
    return (text.split() for text in texts)


def collection(count: int = 200, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 40))) for _ in range(count)]


def test_half_hard_half_random_and_the_same_again():
    documents = [f"{a} {b} 소식 {i}" for i, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS if a != b)]
    pairs = [("금리 환율 소식 0", documents[0]), ("수출 백신", documents[30])]
    first = add_hard_negatives_bm25(pairs, documents, tokenize=split, margin=10, near_duplicate=1.0)
    assert first == add_hard_negatives_bm25(pairs, documents, tokenize=split, margin=10, near_duplicate=1.0)
    for pair in first:
        assert len(pair.hard) == 4
        assert len(pair.random) == 4
        assert pair.positive not in pair.hard + pair.random
        assert len(set(pair.hard + pair.random)) == 8
        words = set(pair.query.split())
        assert all(words & set(text.split()) for text in pair.hard)


def test_the_same_story_near_duplicates_and_too_good_answers_are_no_negatives():
    positive = "한국은행이 기준금리를 0.25%포인트 내렸다고 16일 밝혔다 시장은 환영했다"
    documents = [
        positive,
        "속보 " + positive,  # near-duplicate
        "기준금리 인하에 은행들도 움직인다",  # the same story
        "기준금리 기준금리 기준금리",  # scores more than the positive
        "선거구 기준을 다시 정한다는 소식이 길게 이어진다",
        *collection(30),
    ]
    mined = mine(
        ["기준금리 인하"], [0], documents, stories=[1, 2, 1, 4, 5, *range(10, 40)], negatives=30, hard_share=1.0
    )[0]
    assert 4 in mined.hard
    assert not {0, 1, 2, 3} & set(mined.hard)
    assert not {0, 2} & set(mined.random)


def test_what_cannot_be_meant_is_refused():
    assert add_hard_negatives_bm25([], ["하나"]) == []
    with pytest.raises(BadInputError, match="two different documents"):
        add_hard_negatives_bm25([("질의", "문서")], ["문서"])
    with pytest.raises(UsageError):
        add_hard_negatives_bm25([("질의", "문서")], ["다른"], hard_share=2.0)
