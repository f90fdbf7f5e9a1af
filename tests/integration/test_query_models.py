"""Query models on the real OpenSearch: its tokenizer cuts plain text as the encoder's does."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.search import query_models
from pipeline.search.cluster import Cluster

TITLES = [
    "“금리 인하”… 한국은행 [종합]",
    "[속보]대통령, 국회 연설...”경제 살린다“",
    "코스피 3% 급락 ‘미국 관세’ 충격 · 환율은?",
    "이례적 “”!▁?! 문장부호...만",
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
    for row in found:
        assert row == pytest.approx({token: weights[token] for token in row}, rel=1e-5)
