"""BM25: Lucene's formula, its terms, and the order of ties."""

import math
import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadInputError
from pipeline.ranking.bm25 import BM25, bigrams, top

WORDS = ["금리", "환율", "수출", "코로나", "백신", "예산", "국회", "반도체", "지진", "축구"]


def split(texts):
    return (text.split() for text in texts)


def collection(count: int = 200, seed: int = 1) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(1, 40))) for _ in range(count)]


def formula(documents: list[list[str]], query: list[str], k1: float, b: float) -> list[float]:
    average = sum(map(len, documents)) / len(documents)
    scores = []
    for document in documents:
        score = 0.0
        for term in query:
            n = sum(term in other for other in documents)
            f = document.count(term)
            idf = math.log(1 + (len(documents) - n + 0.5) / (n + 0.5))
            score += idf * f / (f + k1 * (1 - b + b * len(document) / average))
        scores.append(score)
    return scores


def test_scores_are_lucenes():
    documents = collection()
    queries = ["금리 환율", "코로나 코로나 백신", "없는말", "축구 없는말", ""]
    scores = BM25(documents, split, k1=0.9, b=0.4).scores(queries)
    for query, row in zip(queries, scores, strict=True):
        expected = formula([d.split() for d in documents], query.split(), 0.9, 0.4)
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-6)


def test_a_run_is_the_order_of_the_scores_and_ties_go_to_the_earlier():
    documents = ["금리 인하", "환율", "금리 인하", "금리 금리", "수출"] * 3
    model = BM25(documents, split)
    (scores,) = model.scores(["금리"])
    run = model.run(["금리", "없는말"], 4)
    expected = np.lexsort((np.arange(len(scores)), -scores))[:4]
    assert run.documents[0].tolist() == expected.tolist()
    assert run.documents[1].tolist() == [-1] * 4
    positions, values = top(scores, 100)
    assert len(positions) == 9
    np.testing.assert_array_equal(values, scores[positions])


def naive(text: str) -> list[str]:
    terms = []
    for run in re.findall(r"[가-힣]+|[一-鿿]+|[a-z0-9]+", text.lower()):
        whole = len(run) < 2 or run[0].isascii()
        terms += [run] if whole else [run[i : i + 2] for i in range(len(run) - 1)]
    return terms


@given(st.lists(st.text(alphabet="가나힣大鿿aZ9 .ㄱé\n\ud800😀", max_size=12), max_size=5))
def test_bigrams_are_the_pairs_of_syllables_of_each_run(texts):
    assert list(bigrams(texts)) == [naive(text) for text in texts]


def test_documents_without_terms_are_refused():
    with pytest.raises(BadInputError, match="empty"):
        BM25(["", "..."])
