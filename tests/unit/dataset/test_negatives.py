"""Hard negatives: the ranking of rank-bm25, and no negative that answers the query."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rank_bm25 import BM25Okapi

from pipeline.dataset import add_hard_negatives_bm25
from pipeline.dataset.bm25 import BM25, bigrams
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


def collection(count: int = 200, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 40))) for _ in range(count)]


@pytest.mark.parametrize("tokenize", [str.split, bigrams])
def test_scores_are_those_of_rank_bm25(tokenize):
    documents = collection()
    ours, theirs = BM25(documents, tokenize), BM25Okapi([tokenize(d) for d in documents])
    for query in ["금리 환율", "코로나 코로나 백신", "없는말", "축구"]:
        np.testing.assert_allclose(ours.scores(query), theirs.get_scores(tokenize(query)), rtol=1e-9, atol=1e-9)


def test_words_in_more_than_half_of_the_documents_get_rank_bm25s_floor():
    documents = ["공통 하나", "공통 둘", "공통 셋", "넷 다섯"]
    theirs = BM25Okapi([d.split() for d in documents])
    np.testing.assert_allclose(BM25(documents, str.split).scores("공통"), theirs.get_scores(["공통"]), atol=1e-12)


def test_top_is_the_order_of_the_scores_and_ties_go_to_the_earlier():
    documents = collection()
    model = BM25(documents, str.split)
    queries = ["금리 수출", "백신"]
    for query, (found, scores) in zip(queries, model.top(queries, 20), strict=True):
        every = model.scores(query)
        expected = np.lexsort((np.arange(len(every)), -every))[:20]
        assert found.tolist() == [i for i in expected.tolist() if every[i] > 0]
        np.testing.assert_allclose(scores, every[found])


def test_half_hard_half_random_and_the_same_again():
    documents = [f"{a} {b} 소식 {i}" for i, (a, b) in enumerate((a, b) for a in WORDS for b in WORDS if a != b)]
    pairs = [("금리 환율 소식 0", documents[0]), ("수출 백신", documents[30])]
    first = add_hard_negatives_bm25(pairs, documents, tokenize=str.split, margin=10, near_duplicate=1.0)
    assert first == add_hard_negatives_bm25(pairs, documents, tokenize=str.split, margin=10, near_duplicate=1.0)
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
    with pytest.raises(BadInputError, match="empty"):
        BM25(["", "..."])


@given(st.lists(st.text(alphabet="가나힣大鿿aZ9 .ㄱé\n\ud800😀", max_size=12), max_size=5))
def test_pairs_of_syllables_are_counted_alike_at_once_and_one_by_one(texts):
    documents = ["가나다", *texts]
    at_once, one_by_one = BM25(documents, bigrams), BM25(documents, lambda text: bigrams(text))
    for query in [*documents, "가나힣 zz", ""]:
        np.testing.assert_allclose(at_once.scores(query), one_by_one.scores(query), atol=1e-12)
    own = list(range(len(documents)))
    np.testing.assert_allclose(at_once.pairs(documents, own), one_by_one.pairs(documents, own), atol=1e-12)
