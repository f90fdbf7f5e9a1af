"""Windows, embeddings, clusters, calibration and groups, on vectors whose neighbours are known."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import BadInputError, CorruptArtifactError, UsageError
from pipeline.synonyms import (
    build_synonym_groups_from_clusters,
    cluster_tokens_temporal,
    discover_synonyms_temporal,
    extract_temporal_embeddings,
)
from pipeline.synonyms.candidates import Calibration, Neighbourhood
from pipeline.synonyms.embeddings import TemporalEmbeddings, WindowEmbeddings, unit
from pipeline.synonyms.pairs import SynonymPair, complete_groups
from pipeline.synonyms.windows import Window, WindowSample, occurrences, sample, split_sentences, windows_of
from tests.synonym_data import news, tiny_encoder

OLD, NEW = Window(dt.date(2020, 1, 1), dt.date(2020, 1, 31)), Window(dt.date(2020, 2, 1), dt.date(2020, 2, 29))


def window(window_: Window, words: list[str], vectors: np.ndarray, articles: int = 10) -> WindowEmbeddings:
    count = np.full(len(words), articles, dtype=np.int32)
    return WindowEmbeddings(window_, words, unit(vectors.astype(np.float32)), count, count)


def clumps(groups: int, each: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Words in well separated clumps: 가0, 나0 ... of clump 0 and so on (no two words of a clump share a syllable)."""
    random = np.random.default_rng(seed)
    centres = np.eye(groups, 32)
    words, rows = [], []
    for group in range(groups):
        for member in range(each):
            words.append(
                f"{chr(ord('가') + 28 * (group * each + member))}말{chr(ord('나') + 28 * (group * each + member))}"
            )
            rows.append(centres[group] + random.normal(0, 0.05, 32))
    return words, np.array(rows)


def test_windows_leave_out_the_shorter_ones() -> None:
    newest = dt.date(2020, 3, 31)
    windows = windows_of(newest, [30, 90])
    assert [(w.last - w.first).days + 1 for w in windows] == [60, 30]
    assert windows[1].last == newest
    assert windows[0].last + dt.timedelta(days=1) == windows[1].first
    with pytest.raises(UsageError, match="overlap"):
        windows_of(newest, [(dt.date(2020, 1, 1), dt.date(2020, 2, 1)), (dt.date(2020, 2, 1), newest)])
    with pytest.raises(UsageError, match="at least one"):
        windows_of(newest, [])


def test_parentheses_and_parts_of_words_are_no_contexts() -> None:
    assert split_sentences("한국은행(한은)은 금리를 내렸다. 시장은 기다렸다고 한다.")[0] == "한국은행은 금리를 내렸다."
    sentence = "인공지능 기업이 늘고 인공 호수도 늘었다"
    held = WindowSample(NEW, [sentence], [("인공", "지능", "인공지능")], [0], [1.0])
    places = {word: (start, end) for _, word, start, end in occurrences(held, {"인공", "지능", "인공지능"})}
    assert places == {"인공지능": (0, 4), "인공": (12, 14)}, "지능 stands nowhere by itself"


def test_a_sample_does_not_depend_on_the_order_of_documents() -> None:
    texts = [f"문서 {n}" for n in range(50)]
    chosen = {texts[i] for i in sample(range(50), texts, 10)}
    turned = texts[::-1]
    assert {turned[i] for i in sample(range(50), turned, 10)} == chosen


@pytest.mark.parametrize("method", ["kmeans", "hierarchical", "dbscan"])
def test_every_method_finds_the_clumps_and_follows_them_in_time(method: str) -> None:
    words, vectors = clumps(4, 6)
    order = np.random.default_rng(1).permutation(len(words))
    later = window(NEW, [words[i] for i in order], vectors[order] + 0.001)
    found = cluster_tokens_temporal(TemporalEmbeddings([window(OLD, words, vectors), later]), method, 4)
    first, second = found.windows
    if method != "dbscan":
        assert sorted(map(len, first.members().values())) == [6, 6, 6, 6]
    assert all(len({words.index(w) // 6 for w in m}) == 1 for m in first.members().values()), "no cluster mixes clumps"
    assert found.changes[0].agreement == pytest.approx(1.0)
    assert found.changes[0].moved == [], "the same clusters keep their labels"
    assert dict(zip(first.words, first.labels, strict=True)) == dict(zip(second.words, second.labels, strict=True))


def test_a_word_that_changes_its_cluster_is_reported() -> None:
    words, vectors = clumps(3, 6)
    moved = vectors.copy()
    moved[0] = vectors[7]
    found = cluster_tokens_temporal(
        TemporalEmbeddings([window(OLD, words, vectors), window(NEW, words, moved)]), "hierarchical", 3
    )
    assert [word for word, _, _ in found.changes[0].moved] == [words[0]]


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_few_words_are_no_trouble(count: int) -> None:
    words, vectors = clumps(1, 5)
    held = TemporalEmbeddings([window(NEW, words[:count], vectors[:count])])
    for method in ("kmeans", "dbscan", "hierarchical"):
        assert len(cluster_tokens_temporal(held, method, 500).windows[0].labels) == count
    assert build_synonym_groups_from_clusters(cluster_tokens_temporal(held), held) == []
    assert all(p.confidence < 0.9 for p in discover_synonyms_temporal([], [], held)), "few words prove nothing"


def test_unknown_methods_are_refused() -> None:
    with pytest.raises(UsageError, match="kmeans, dbscan, hierarchical"):
        cluster_tokens_temporal(TemporalEmbeddings([]), "louvain")


def test_the_threshold_is_what_random_pairs_hardly_reach() -> None:
    random = np.random.default_rng(3)
    words = [f"{chr(ord('가') + 28 * n)}{chr(ord('각') + 28 * n)}" for n in range(300)]
    shifted = random.normal(size=(300, 16)) + 3.0  # every cosine is high, as in a space with its mean left in
    held = window(NEW, words, shifted)
    calibration = Calibration.of(held)
    threshold = calibration.threshold(0.001)
    assert threshold > 0.95, "a fixed .75 or .8 would let everything through"
    assert np.mean(calibration.cosines >= threshold) == pytest.approx(0.001, rel=0.2)
    assert calibration.confidence(float(np.median(calibration.cosines))) == 0
    assert calibration.confidence(0.999999) > 0.9


def test_close_words_of_a_cluster_are_candidates_and_recent_windows_weigh_more() -> None:
    random = np.random.default_rng(4)
    words = [f"{chr(ord('가') + 28 * n)}{chr(ord('각') + 28 * n)}" for n in range(200)]
    vectors = random.normal(size=(200, 24))
    near, far = vectors.copy(), vectors.copy()
    near[1] = near[0] + 0.05 * random.normal(size=24)
    recent = TemporalEmbeddings([window(OLD, words, far), window(NEW, words, near)])
    past = TemporalEmbeddings([window(OLD, words, near), window(NEW, words, far)])
    pair = (min(words[0], words[1]), max(words[0], words[1]))
    found = {p.key: p for p in discover_synonyms_temporal([], [], recent)}
    assert pair in found
    assert found[pair].source == "cluster"
    now, then = Neighbourhood(recent).of(*pair), Neighbourhood(past).of(*pair)
    assert now is not None
    assert then is not None
    assert now.similarity > 0.7 > then.similarity, "the same two cosines, weighted by age"


def test_groups_have_no_chains() -> None:
    def pair(a: str, b: str, confidence: float = 0.9) -> SynonymPair:
        return SynonymPair(a, b, "cluster", confidence=confidence)

    chain = [pair("a", "b"), pair("b", "c"), pair("c", "d")]
    assert {g.words for g in complete_groups(chain)} == {("a", "b"), ("b", "c"), ("c", "d")}
    whole = [*chain, pair("a", "c"), pair("a", "d", 0.85), pair("b", "d")]
    assert [(g.words, g.confidence) for g in complete_groups(whole, 0.8)] == [(("a", "b", "c", "d"), 0.85)]
    assert ("a", "b", "c", "d") not in {g.words for g in complete_groups(whole, 0.87)}


def test_groups_from_clusters_hold_only_close_words() -> None:
    random = np.random.default_rng(5)
    words = [f"{chr(ord('가') + 28 * n)}{chr(ord('각') + 28 * n)}" for n in range(200)]
    vectors = random.normal(size=(200, 24))
    for twin in (1, 2):
        vectors[twin] = vectors[0] + 0.05 * random.normal(size=24)
    held = TemporalEmbeddings([window(NEW, words, vectors)])
    groups = build_synonym_groups_from_clusters(cluster_tokens_temporal(held, "hierarchical", 40), held, threshold=0.9)
    assert tuple(sorted(words[:3])) in {g.words for g in groups}
    assert all(g.confidence >= 0.9 for g in groups)


def test_embeddings_come_from_the_words_own_tokens(tmp_path: Path) -> None:
    texts, days = news(40)
    model = tiny_encoder(tmp_path / "model", texts)
    made = extract_temporal_embeddings(
        texts, days, [20, 60], model=model, words=30, min_articles=2, contexts=3, sentences=60
    )
    assert [w.window.last for w in made.windows][-1] == max(days)
    for held in made.windows:
        assert held.words
        assert held.vectors.shape == (len(held.words), 32)
        assert np.allclose(np.linalg.norm(held.vectors, axis=1), 1, atol=1e-5)
        assert held.contexts.max() >= 3
    again = extract_temporal_embeddings(
        texts, days, [20, 60], model=model, words=30, min_articles=2, contexts=3, sentences=60, batch_size=7
    )
    a, b = made.windows[-1], again.windows[-1]
    assert a.words == b.words
    assert float((a.vectors * b.vectors).sum(axis=1).min()) > 0.9, "padding and batches hardly matter (bf16)"
    made.write(tmp_path / "artifact")
    read = TemporalEmbeddings.read(tmp_path / "artifact")
    assert read.windows[0].words == made.windows[0].words
    assert np.allclose(read.windows[0].vectors, made.windows[0].vectors, atol=2e-3)
    (tmp_path / "artifact" / "windows.json").write_text("{")
    with pytest.raises(CorruptArtifactError):
        TemporalEmbeddings.read(tmp_path / "artifact")


def test_what_is_no_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="no encoder"):
        extract_temporal_embeddings(["금리를 내렸다고 한다."], [dt.date(2020, 1, 1)], [30], model=tmp_path)
