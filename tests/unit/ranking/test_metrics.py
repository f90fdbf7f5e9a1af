"""Metrics against closed forms and a plain, independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.artifacts.query_sets import Query
from pipeline.ranking.metrics import Cost, Judgments, measure
from pipeline.ranking.runs import Run, hybrid_run, sparse_run


def run_of(*rows: list[tuple[int, float]]) -> Run:
    return Run.of([(np.array([d for d, _ in r], np.int32), np.array([s for _, s in r], np.float32)) for r in rows])


def judgments(*relevant: dict[str, float], documents: int = 20) -> Judgments:
    return Judgments.of([Query(str(i), "", r) for i, r in enumerate(relevant)], [str(d) for d in range(documents)])


def test_closed_forms() -> None:
    run = run_of([(3, 9.0), (1, 8.0), (7, 7.0)], [(2, 1.0)], [])
    values = measure(run, judgments({"1": 1, "9": 1}, {"2": 2}, {"0": 1}))
    assert values["ndcg@10"] == pytest.approx([(1 / math.log2(3)) / (1 + 1 / math.log2(3)), 1, 0])
    assert values["mrr@10"] == pytest.approx([0.5, 1, 0])
    assert values["recall@10"] == pytest.approx([0.5, 1, 0])


def test_graded_gains_are_linear_as_in_trec_eval() -> None:
    values = measure(run_of([(0, 3.0), (1, 2.0)]), judgments({"0": 1, "1": 3}))
    assert values["ndcg@10"][0] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))


def test_a_dead_model_earns_nothing() -> None:
    """Every document the same score: in corpus order the relevant one would be first."""
    same = sparse_run(sp.csr_matrix(np.ones((4, 3), np.float32)), sp.csr_matrix(np.ones((500, 3), np.float32)))
    values = measure(same, judgments(*[{"0": 1}] * 4, documents=500))
    assert all(values[m].max() == 0 for m in values)
    nothing = sparse_run(sp.csr_matrix((4, 3), dtype=np.float32), sp.csr_matrix(np.ones((500, 3), np.float32)))
    assert measure(nothing, judgments(*[{"0": 1}] * 4, documents=500))["ndcg@10"].max() == 0


def test_a_broken_model_finds_nothing() -> None:
    documents = sp.csr_matrix(np.full((5, 3), np.nan, np.float32))
    queries = sp.csr_matrix(np.ones((1, 3), np.float32))
    assert measure(sparse_run(queries, documents), judgments({"0": 1}))["ndcg@10"][0] == 0
    assert Cost.of(documents, queries).unusable == 15


def test_ties_put_irrelevant_documents_first_then_small_gains() -> None:
    run = run_of([(0, 5.0), (1, 5.0), (2, 5.0), (3, 9.0)])
    values = measure(run, judgments({"0": 2, "1": 1}))
    # 3, then the irrelevant 2, then gain 1, then gain 2
    expected = (1 / math.log2(4) + 2 / math.log2(5)) / (2 + 1 / math.log2(3))
    assert values["ndcg@10"][0] == pytest.approx(expected)
    assert values["mrr@10"][0] == pytest.approx(1 / 3)


def plain(scores: dict[int, float], relevant: dict[int, float], metric: str, k: int) -> float:
    """trec_eval's definitions, written out, on a ranking whose ties are broken against the system."""
    ranking = sorted((d for d in scores if scores[d] > 0), key=lambda d: (-scores[d], relevant.get(d, 0)))[:k]
    if metric == "recall":
        return len(set(ranking) & set(relevant)) / len(relevant)
    if metric == "mrr":
        return next((1 / rank for rank, d in enumerate(ranking, 1) if d in relevant), 0.0)
    got = sum(relevant.get(d, 0) / math.log2(rank + 1) for rank, d in enumerate(ranking, 1))
    best = sorted(relevant.values(), reverse=True)[:k]
    return got / sum(gain / math.log2(rank + 1) for rank, gain in enumerate(best, 1))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 29), st.integers(0, 4).map(float), max_size=30),
            st.dictionaries(st.integers(0, 34), st.integers(1, 3).map(float), min_size=1, max_size=6),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_agrees_with_the_plain_definition(cases: list[tuple[dict[int, float], dict[int, float]]]) -> None:
    run = run_of(*[[(d, s) for d, s in scores.items() if s > 0] for scores, _ in cases])
    relevant = [{str(d): g for d, g in rel.items()} for _, rel in cases]
    values = measure(run, judgments(*relevant, documents=30))
    for row, (scores, rel) in enumerate(cases):
        for metric, k in (("ndcg", 10), ("mrr", 10), ("recall", 10), ("recall", 100)):
            assert values[f"{metric}@{k}"][row] == pytest.approx(plain(scores, rel, metric, k)), metric


def test_agrees_with_sentence_transformers_where_nothing_ties() -> None:
    evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation.information_retrieval")
    rng = np.random.default_rng(1)
    scores = rng.random((6, 40)).astype(np.float32)
    relevant = [{str(d): 1.0 for d in rng.choice(40, 3, replace=False)} for _ in range(6)]
    values = measure(
        sparse_run(sp.csr_matrix(scores), sp.identity(40, np.float32, "csr")), judgments(*relevant, documents=40)
    )
    evaluator = evaluation.InformationRetrievalEvaluator.__new__(evaluation.InformationRetrievalEvaluator)
    evaluator.queries_ids = [str(i) for i in range(6)]
    evaluator.queries = evaluator.queries_ids
    evaluator.relevant_docs = {str(i): set(r) for i, r in enumerate(relevant)}
    evaluator.mrr_at_k = evaluator.ndcg_at_k = evaluator.accuracy_at_k = evaluator.map_at_k = [10]
    evaluator.precision_recall_at_k = [10]
    theirs = evaluator.compute_metrics(
        [[{"corpus_id": str(d), "score": float(s)} for d, s in enumerate(row)] for row in scores]
    )
    assert values["ndcg@10"].mean() == pytest.approx(theirs["ndcg@k"][10])
    assert values["mrr@10"].mean() == pytest.approx(theirs["mrr@k"][10])
    assert values["recall@10"].mean() == pytest.approx(theirs["recall@k"][10])


def test_sparse_run_is_the_exact_top_with_ties_by_row() -> None:
    rng = np.random.default_rng(0)
    documents = sp.random(300, 50, 0.1, "csr", np.float32, rng=rng)
    documents.data[:] = np.round(documents.data * 4)
    queries = sp.random(20, 50, 0.1, "csr", np.float32, rng=rng)
    queries.data[:] = 1
    run = sparse_run(queries, documents, depth=25)
    dense = (queries @ documents.T).toarray()
    for row in range(20):
        expected = [d for d in sorted(range(300), key=lambda d: (-dense[row, d], d)) if dense[row, d] > 0][:25]
        assert [d for d in run.documents[row] if d >= 0] == expected
    assert (sparse_run(queries, documents, depth=25).documents == run.documents).all()


def test_hybrid_is_the_normalization_processors_arithmetic() -> None:
    a = run_of([(0, 10.0), (1, 6.0), (2, 2.0)], [(5, 3.0)], [])
    b = run_of([(2, 8.0), (3, 4.0)], [(5, 1.0), (6, 1.0)], [(4, 2.0)])
    run = hybrid_run([a, b], [0.5, 0.5], depth=10)
    got = [dict(zip(d.tolist(), s.tolist(), strict=True)) for d, s in zip(run.documents, run.scores, strict=True)]
    assert got[0] == pytest.approx({0: 0.5, 1: 0.25, 2: 0.5005, 3: 0.0005})
    assert {d: s for d, s in got[1].items() if d >= 0} == pytest.approx({5: 1.0, 6: 0.5})
    assert {d: s for d, s in got[2].items() if d >= 0} == pytest.approx({4: 0.5})


def test_costs() -> None:
    documents = sp.csr_matrix(np.array([[1, 0, 2, 0], [0, 0, 3, 0]], np.float32))
    queries = sp.csr_matrix(np.array([[1, 0, 0, 1], [1, 0, 1, 0]], np.float32))
    cost = Cost.of(documents, queries)
    assert (cost.active_terms, cost.query_terms, cost.sparsity, cost.postings) == (1.5, 2, 1 - 1.5 / 4, 3)
    # term 0: in half the documents and all queries; term 2: all documents, half the queries
    assert cost.flops == pytest.approx(0.5 * 1 + 1 * 0.5)
    pairs = [(q.multiply(d) != 0).sum() for q in queries for d in documents]
    assert cost.flops == pytest.approx(np.mean(pairs))


def test_queries_of_one_document_are_one_group() -> None:
    groups = judgments({"1": 1}, {"1": 1, "5": 1}, {"2": 1}, {"elsewhere": 1}, {"nowhere": 1}).groups()
    assert groups[0] == groups[1]
    assert len(set(groups.tolist())) == 4
