"""Query models on the real OpenSearch: its tokenizer cuts plain text as the encoder's does."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.artifacts.query_sets import Corpus, Query
from pipeline.search import query_models
from pipeline.search.baseline import bm25_run
from pipeline.search.cluster import Cluster

TITLES = [
    "“금리 인하”… 한국은행 [종합]",
    "[속보]대통령, 국회 연설...”경제 살린다“",
    "코스피 3% 급락 ‘미국 관세’ 충격 · 환율은?",
    "이례적 “”!▁?! 문장부호...만",
    "▲코스피↑ 환율↓ 서울→부산 3∼5일 30℃ 100㎞ ㈜한국은행 경제∙성장 한ㆍ미 마스크😷 👩🏽\u200d💻대통령",
    "환\u200b율 \u1100\u1167\u11bc\u110c\u1166 \ue000금리\uf8ff ＡＩ ㅋㅋㅠㅠ 뷁환율 \U0001fbff대통령",
]


def test_plain_text_is_cut_alike(tmp_path: Path, opensearch_url: str) -> None:
    pytest.importorskip("torch")
    from pipeline.training import vocabulary

    texts = [f"{title} {n}번째 대통령 경제 금리 한국은행 환율" for title in TITLES for n in range(3)]
    tokens = vocabulary.train_vocabulary(texts, 3000)
    tokenizer = vocabulary.build_tokenizer(tokens, 64)
    tokenizer.save_pretrained(tmp_path)
    weights = dict(zip(tokens, np.linspace(0.5, 2, len(tokens)).tolist(), strict=True))
    (tmp_path / "idf.json").write_text(json.dumps(weights), "utf-8")
    cluster = Cluster(opensearch_url)
    model = query_models.ensure(cluster, "titles", query_models.package(tmp_path))
    try:
        found = query_models.predict(cluster, model, TITLES)
    finally:
        query_models.remove(cluster, model)
    special = set(vocabulary.SPECIAL)
    assert [set(row) - special for row in found] == [set(tokenizer.tokenize(title)) - special for title in TITLES]
    assert "한국은행" in found[0]
    assert {"환율", "한국은행", "대통령"} <= set(found[4])
    assert {"환율", "경제", "금리", "대통령"} <= set(found[5])
    for row in found:
        assert row == pytest.approx({token: weights[token] for token in row}, rel=1e-5)


def test_a_long_judged_query_is_cut_for_bm25(opensearch_url: str) -> None:
    corpus = Corpus(["1", "2"], ["환율 급등", "축구 대표팀"])
    queries = [Query("long", "환율 " + " ".join(map(str, range(9000))), {"1": 1.0}), Query("q", "축구", {"2": 1.0})]
    run = bm25_run(Cluster(opensearch_url), corpus, queries)
    assert {query: [document for document, _ in hits] for query, hits in run.items()} == {"long": ["1"], "q": ["2"]}
