"""The lexical floor: BM25's document side under a text's own terms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rank_bm25 import BM25Okapi

from pipeline.encoder import Encoder
from pipeline.encoder.lexical import K1, B, LexicalFloor, saturation
from tests.tiny import tiny_encoder

DOCUMENTS = [[3, 3, 5], [5, 6, 7, 8, 9, 3], [4], [7, 7, 7, 7], *[[0, 1, 2]] * 4]


def test_it_is_bm25_without_idf() -> None:
    """rank-bm25's score of a one-term query, divided by its idf."""
    average = float(np.mean([len(d) for d in DOCUMENTS]))
    ours = saturation(DOCUMENTS, 10, average).toarray()
    theirs = BM25Okapi(DOCUMENTS, k1=K1, b=B)
    for term in (3, 4, 5, 6, 7, 8, 9):
        np.testing.assert_allclose(ours[:, term], theirs.get_scores([term]) / theirs.idf[term], rtol=1e-6)


def test_said_once_in_an_average_text_is_one() -> None:
    assert saturation([[2, 4, 6]], 8, 3.0)[0, 4] == pytest.approx(1.0)
    assert LexicalFloor(2.0, 0.0).of([[2, 4, 6]], 8, 3.0)[0, 4] == pytest.approx(2.0)


@pytest.mark.parametrize("added", [False, True])
def test_no_own_term_falls_below_it_and_no_other_term_moves(tmp_path: Path, added: bool) -> None:
    tiny_encoder(tmp_path / "m")
    text = "금리 인상 금리 한국은행"
    plain = Encoder.load(tmp_path / "m", device="cpu").encode_documents([text]).toarray()[0]
    floored = Encoder.load(tmp_path / "m", device="cpu", lexical=LexicalFloor(5.0, 10.0, added))
    floor = floored.lexical_floor([text]).toarray()[0]
    assert (floor > 0).sum() == len(floored.token_ids(text)) > 0
    assert not floor[floored.blocked].any()
    expected = plain + floor if added else np.maximum(plain, floor)
    np.testing.assert_allclose(floored.encode_documents([text]).toarray()[0], expected, rtol=1e-5)


@pytest.mark.parametrize("most", [1, 6, 20, 10_000])
def test_pruning_takes_no_own_term(tmp_path: Path, most: int) -> None:
    """A long text's own terms are its lightest: they were the first to go."""
    tiny_encoder(tmp_path / "m")
    lexical = LexicalFloor(0.01, 1.0, added=True)
    encoder = Encoder.load(tmp_path / "m", device="cpu", lexical=lexical)
    texts = ["금리 인상 금리 한국은행", "축구 대표팀 경기 승리 감독 선수 날씨 태풍 폭우 지진 서울 부산"]
    whole = encoder.encode_documents(texts).toarray()
    pruned = encoder.encode_documents(texts, max_added=most).toarray()
    for row, text, all_of_it in zip(pruned, texts, whole, strict=True):
        own = np.zeros(len(row), bool)
        own[encoder.token_ids(text)] = True
        np.testing.assert_array_equal(row[own], all_of_it[own])
        kept = np.flatnonzero((row > 0) & ~own)
        assert len(kept) == min(most, ((all_of_it > 0) & ~own).sum()), "the same room beside a long text's own terms"
        dropped = all_of_it[(row == 0) & ~own]
        if len(kept) and len(dropped):
            assert row[kept].min() >= dropped.max()


def test_the_whole_text_has_a_floor_though_the_model_reads_its_start(tmp_path: Path) -> None:
    tiny_encoder(tmp_path / "m")
    encoder = Encoder.load(tmp_path / "m", device="cpu", max_length=4, lexical=LexicalFloor(1.0, 10.0))
    text = "금리 인상 " * 20 + "한국은행"
    last = encoder.token_ids("한국은행")
    encoder.max_length = 4
    assert encoder.encode_documents([text]).toarray()[0][last].min() > 0
