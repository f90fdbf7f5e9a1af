"""The lexical floor: BM25's document side under a text's own terms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from pipeline.encoder.lexical import K1, B, bm25_weights
from tests.tiny import tiny_encoder

DOCUMENTS = [[3, 3, 5], [5, 6, 7, 8, 9, 3], [4], [7, 7, 7, 7], *[[0, 1, 2]] * 4]


def test_it_is_bm25_without_idf() -> None:
    """rank-bm25's score of a one-term query, divided by its idf."""
    average = float(np.mean([len(d) for d in DOCUMENTS]))
    ours = bm25_weights(DOCUMENTS, 10, average).toarray()
    theirs = BM25Okapi(DOCUMENTS, k1=K1, b=B)
    for term in (3, 4, 5, 6, 7, 8, 9):
        np.testing.assert_allclose(ours[:, term], theirs.get_scores([term]) / theirs.idf[term], rtol=1e-6)


def test_said_once_in_an_average_text_is_one() -> None:
    assert bm25_weights([[2, 4, 6]], 8, 3.0)[0, 4] == pytest.approx(1.0)


def test_no_own_term_falls_below_it_and_only_own_terms_have_one(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "m")
    text = "금리 인상 금리 한국은행"
    encoder.encoding = dataclasses.replace(encoder.encoding, lexical_floor=5.0, average_length=4.0)
    floor = encoder.lexical_floor([text]).toarray()[0]
    assert np.flatnonzero(floor).tolist() == encoder.token_ids(text)
    assert floor[encoder.token_ids("한국은행")] == pytest.approx(5.0)
    assert (encoder.encode_documents([text]).toarray()[0] >= floor).all()
    assert encoder.lexical_floor([]).shape == (0, len(encoder.vocabulary))


@pytest.mark.parametrize("most", [1, 6, 20])
def test_the_cut_of_learned_terms_takes_no_own_term(tmp_path: Path, most: int) -> None:
    encoder = tiny_encoder(tmp_path / "m")
    text = "축구 대표팀 경기 승리 감독 선수 날씨 태풍 폭우 지진 서울 부산"
    encoder.encoding = dataclasses.replace(encoder.encoding, lexical_floor=0.01, max_terms=most)
    row, own = encoder.encode_documents([text]).toarray()[0], encoder.token_ids(text)
    assert (row[own] >= encoder.lexical_floor([text]).toarray()[0][own]).all()
    assert 0 < (row > 0).sum() - len(own) <= most


def test_the_whole_text_has_a_floor_however_long_it_is(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "m")
    text = "금리 인상 " * 400 + "한국은행"
    assert encoder.lexical_floor([text]).toarray()[0][encoder.token_ids("한국은행")].min() > 0
