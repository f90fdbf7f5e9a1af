"""The parts of search that need no cluster: stored weights, query model packages, bodies, addresses."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from pipeline.encoder.encoding import QUERY_TOKENS
from pipeline.errors import BadInputError, ConfigError, UnavailableError
from pipeline.search import bodies, bulk, features, query_models
from pipeline.search.cluster import Cluster, credentials
from tests.tiny import tiny_encoder


@given(st.lists(st.floats(2.0**-120, 2.0**60, width=32), min_size=1, max_size=50))
def test_stored_weights_are_within_the_bound_and_so_are_their_sums(values: list[float]) -> None:
    exact = np.array(values, np.float32)
    stored = features.stored(exact)
    assert (stored <= exact).all()
    assert (stored > exact.astype(np.float64) * (1 - features.PRECISION)).all()
    assert (features.stored(stored) == stored).all()
    total = exact.astype(np.float64).sum()
    assert total * (1 - features.PRECISION) < stored.astype(np.float64).sum() <= total


def test_documents_hold_positive_normal_floats_only() -> None:
    row = sp.csr_matrix(np.array([[0.0, 1.5, 1e-45, 0.3]], np.float32))
    made = features.document(row, ["a", "b", "c", "d"])
    assert made.keys() == {"b", "d"}
    assert made["b"] == 1.5
    assert made["d"] == pytest.approx(0.3, rel=features.PRECISION)


def test_a_package_is_the_same_every_time_and_lists_every_token(tmp_path: Path) -> None:
    encoder = tiny_encoder(tmp_path / "model")
    first = query_models.package(tmp_path / "model")
    tiny_encoder(tmp_path / "again")
    assert query_models.package(tmp_path / "again") == first
    archive = zipfile.ZipFile(io.BytesIO(first))
    table = json.loads(archive.read("idf.json"))
    assert list(table) == encoder.vocabulary
    for index, token in enumerate(encoder.vocabulary):
        expected = encoder.query_weights[index] or query_models.NO_WEIGHT
        assert np.float32(table[token]) == np.float32(expected)
    # Two special tokens are counted by ML Commons before it drops them.
    assert json.loads(archive.read("tokenizer.json"))["truncation"]["max_length"] == QUERY_TOKENS + 2
    other = query_models.package(tmp_path / "model", encoder.query_weights * 2)
    assert query_models.content_name("x", other) != query_models.content_name("x", first)


@pytest.mark.parametrize("counted", [0.0, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("kind", [models.WordPiece, models.WordLevel])
def test_words_without_weight_leave_no_token(tmp_path: Path, kind: Any, counted: float) -> None:
    tokens = ["[UNK]", "[CLS]", "가", "##가", "##나", "나", "가나", "a", "##a", "aa", "2", "##은"]
    tokenizer = Tokenizer(kind(dict(zip(tokens, range(len(tokens)), strict=True)), unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[UNK]", "[CLS]"])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    weights = (np.random.default_rng(0).random(len(tokens)) < counted).astype(np.float32)
    (tmp_path / "idf.json").write_text(json.dumps(dict.fromkeys(tokens, 1.0)))
    archive = zipfile.ZipFile(io.BytesIO(query_models.package(tmp_path, weights)))
    served = Tokenizer.from_str(archive.read("tokenizer.json").decode())
    kept = {token for token, weight in zip(tokens, weights, strict=True) if weight or kind is models.WordLevel}
    for text in ("가나은 aaa 2", "나가나 2 없다 a", "가나", "[CLS] 나"):
        # As ML Commons names them: each id decoded alone, without special tokens.
        named = [served.decode([number], skip_special_tokens=True) for number in served.encode(text).ids]
        wanted = [token for token in tokenizer.encode(text).tokens if token in kept and token not in tokens[:2]]
        assert [name for name in named if name] == wanted


@pytest.mark.parametrize("bad", [-1.0, 65.0, float("nan")])
def test_weights_that_cannot_be_served_are_refused(tmp_path: Path, bad: float) -> None:
    encoder = tiny_encoder(tmp_path)
    weights = encoder.query_weights.copy()
    weights[10] = bad
    with pytest.raises(BadInputError, match="from 0 to 64"):
        query_models.package(tmp_path, weights)
    with pytest.raises(BadInputError, match="do not fit"):
        query_models.package(tmp_path, weights[:5])
    with pytest.raises(BadInputError, match=r"tokenizer\.json"):
        query_models.package(tmp_path / "nothing")


def test_bulk_batches_are_bounded_by_bytes_and_documents() -> None:
    actions = [bulk.Action(str(n), {"text": "가" * 400_000}) for n in range(10)]
    batches = list(bulk._batches(iter(actions)))
    assert [action.id for batch in batches for action, _ in batch] == [str(n) for n in range(10)]
    assert all(sum(len(lines) for _, lines in batch) <= bulk.BATCH_BYTES for batch in batches)
    assert len(list(bulk._batches(bulk.Action(str(n), None) for n in range(1001)))) == 3


def test_users_and_addresses(tmp_path: Path) -> None:
    assert credentials({}) is None
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    user = {"GARAM_OPENSEARCH_USER": "garam"}
    assert credentials({**user, "GARAM_OPENSEARCH_PASSWORD_FILE": str(secret)}) == ("garam", "geheim")
    with pytest.raises(ConfigError, match="is set without"):
        credentials(user)
    with pytest.raises(ConfigError, match="cannot be read"):
        credentials({**user, "GARAM_OPENSEARCH_PASSWORD_FILE": str(tmp_path / "nothing")})
    with pytest.raises(ConfigError, match="unencrypted"):
        Cluster("http://search.example:9200", environ={**user, "GARAM_OPENSEARCH_PASSWORD": "x"})
    with pytest.raises(ConfigError, match="must be http"):
        Cluster("search.example", environ={})
    with pytest.raises(ConfigError, match="is no file"):
        Cluster("https://search.example", environ={"GARAM_OPENSEARCH_CA": str(tmp_path / "nothing")})
    with pytest.raises(UnavailableError, match="does not answer"):
        Cluster("http://127.0.0.1:1", environ={}).count("news")


def test_vectors_are_not_shown_and_the_mapping_is_strict() -> None:
    body = bodies.news_index({"generation": 3}, shards=2, replicas=1, pipeline="news-g0003", seismic=True)
    assert body["mappings"]["dynamic"] == "strict"
    assert body["mappings"]["_source"]["excludes"] == ["emb", "seismic"]
    assert body["settings"]["index"]["search.default_pipeline"] == "news-g0003"
    assert "seismic" not in bodies.news_index({}, shards=1, replicas=0, pipeline="p")["mappings"]["properties"]


@pytest.mark.parametrize(("trends", "strength"), [({}, 0.7), ({"b": 0.0}, 0.7), ({"a": 1.0}, 0.0)])
def test_nothing_to_lift_is_one_clause(trends: dict[str, float], strength: float) -> None:
    terms = {"a": 1.0, "b": 2.0}
    assert bodies.ranked_tokens(terms, trends, strength=strength, days=3) == bodies.sparse_tokens(terms)


@pytest.mark.parametrize("depth", [None, 50])
def test_a_template_without_trends_has_one_clause(depth: int | None) -> None:
    source = bodies.search_template(trend_model=None, strength=0.7, days=3, depth=depth)
    assert "function_score" not in source
    assert source == bodies.search_template(trend_model="some", strength=0, days=3, depth=depth)
