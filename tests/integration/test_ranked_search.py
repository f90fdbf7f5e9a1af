"""The ranking that users get, on the real OpenSearch: terms, trends of recent articles, and search templates."""

from __future__ import annotations

import datetime as dt
import json
import secrets
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.search import bodies, bulk, features, query_models
from pipeline.search.cluster import Cluster, ClusterError
from tests.tiny import SPECIAL, WORDS, tiny_tokenizer

STRENGTH, DAYS = 0.7, 3.0
AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ODD_TEXTS = [
    "한국은행 금리",
    '그는 "금리 인하"라고 \\ 말했다',
    "금리\n환율\t물가\r",
    "{{query}} 금리 {{{size}}} {{#published_from}}x{{/published_from}} }} {{",
    '금리"}}}, "size": 0, "x": {"y": "',
    "</script> & <금리> 'ㅋ' \u2028 \x00 \x1f 😀 大",
    unicodedata.normalize("NFD", "금리"),  # as some keyboards send it
]


@dataclass(frozen=True)
class World:
    """An index of made-up articles, its two query models and their weights (V,), and what a document should score."""

    cluster: Cluster
    name: str
    trend_model: str
    tokens: list[str]
    words: list[str]
    terms: np.ndarray
    trends: np.ndarray
    vectors: np.ndarray  # (n, V)
    ages: np.ndarray  # days before AT or before the test began; negative in the future, nan without a date

    def score(self, words: list[str], horizon: float = bodies.HORIZON) -> np.ndarray:
        """terms + strength x exp(-age / days) x trends of every document (n,)."""
        ids = [self.tokens.index(word) for word in words]
        recent = (self.ages >= 0) & (self.ages <= horizon * DAYS)
        decay = np.where(recent, np.exp(-np.where(recent, self.ages, 0) / DAYS), 0)
        vectors = self.vectors[:, ids]
        return np.asarray(vectors @ self.terms[ids] + STRENGTH * decay * (vectors @ self.trends[ids]))

    def bodies(self, words: list[str], origin: str) -> list[dict[str, Any]]:
        """The ranking by plain text and by tokens."""
        ids = {word: self.tokens.index(word) for word in words}
        text = " ".join(words)
        return [
            bodies.ranked(
                bodies.sparse(text), bodies.sparse(text, self.trend_model), strength=STRENGTH, days=DAYS, origin=origin
            ),
            bodies.ranked_tokens(
                {word: float(self.terms[n]) for word, n in ids.items() if self.terms[n]},
                {word: float(self.trends[n]) for word, n in ids.items()},
                strength=STRENGTH,
                days=DAYS,
                origin=origin,
            ),
        ]

    def search(self, queries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """The hits of each query."""
        searches = [{"size": 1000, "query": query} for query in queries]
        return [answer["hits"]["hits"] for answer in self.cluster.msearch(self.name, searches)]


@pytest.fixture(scope="module", params=["origin", "now"])
def world(request: pytest.FixtureRequest, opensearch_url: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Articles before a fixed moment, and before now."""
    folder = tmp_path_factory.mktemp("model")
    yield from _world(Cluster(opensearch_url), folder, AT if request.param == "origin" else dt.datetime.now(dt.UTC))


def _world(cluster: Cluster, folder: Path, origin: dt.datetime) -> Iterator[tuple[World, str]]:
    draw = np.random.default_rng(3)
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    (folder / "idf.json").write_text(json.dumps(dict.fromkeys(tokens, 1.0)), "utf-8")
    words = [word for word in dict.fromkeys(WORDS.split()) if word.isalnum() and word in tokens]
    terms = draw.uniform(0.5, 8, len(tokens)).astype(np.float32)
    terms[: len(SPECIAL)] = 0
    terms[tokens.index("뉴스")] = 0
    trends = np.where(draw.random(len(tokens)) < 0.3, terms * draw.random(len(tokens)), 0).astype(np.float32)
    trends[tokens.index("금리")] = terms[tokens.index("금리")]
    vectors = np.zeros((200, len(tokens)))
    for row in vectors:
        row[draw.choice([tokens.index(word) for word in words], 12, replace=False)] = draw.uniform(0.05, 4, 12)
    vectors[:4] = vectors[0]
    vectors[:4, tokens.index("금리")] = 1.0
    ages = draw.uniform(0, 40, len(vectors))
    ages[:5] = [1.0, 39.0, -1.0, np.nan, 0.5]
    ages[5::20] *= -1
    ages[6::20] = np.nan
    name = f"ranked-{secrets.token_hex(4)}"
    models = [query_models.ensure(cluster, name, query_models.package(folder, one)) for one in (terms, trends)]
    cluster.put_pipeline(name, bodies.search_pipeline(models[0], hybrid_weights=(0.5, 0.5), fusion="minmax"))
    cluster.create_index(name, bodies.news_index({}, shards=1, replicas=0, pipeline=name))
    articles = [
        {
            "title": "제목",
            "text": "한국은행 금리" if number < 4 else "다른 글",
            "emb": {tokens[n]: float(vector[n]) for n in np.flatnonzero(vector)},
            **({} if np.isnan(age) else {"published_at": (origin - dt.timedelta(days=age)).isoformat()}),
        }
        for number, (vector, age) in enumerate(zip(vectors, ages.tolist(), strict=True))
    ]
    bulk.load(cluster, name, (bulk.Action(str(n), article) for n, article in enumerate(articles)))
    cluster.refresh(name)
    made = World(cluster, name, models[1], tokens, words, terms, trends, vectors, ages)
    yield made, origin.isoformat() if origin == AT else "now"
    cluster.delete_index(name)
    cluster.delete_pipeline(name)
    for model in models:
        query_models.remove(cluster, model)


def test_scores_are_the_formulas_for_plain_text_and_tokens(world: tuple[World, str]) -> None:
    made, origin = world
    draw = np.random.default_rng(4)
    queries = [list(draw.choice(made.words, draw.integers(1, 7), replace=False)) for _ in range(250)]
    for words in queries:
        wanted, whole = made.score(words), made.score(words, horizon=np.inf)
        for hits in made.search(made.bodies(words, origin)):
            assert {int(hit["_id"]) for hit in hits} == set(np.flatnonzero(wanted).tolist())
            ids = [int(hit["_id"]) for hit in hits]
            scores = [hit["_score"] for hit in hits]
            # Time passes between the dates of the articles and a search: it takes e^(-seconds / days) off, no more.
            assert scores == pytest.approx(wanted[ids], rel=features.PRECISION)
            assert scores == pytest.approx(whole[ids], rel=features.PRECISION)


def test_old_future_and_undated_articles_get_no_recency(world: tuple[World, str]) -> None:
    made, origin = world
    for hits in made.search([*made.bodies(["금리"], origin), *made.bodies(["금리", "코로나"], origin)]):
        scores = {int(hit["_id"]): hit["_score"] for hit in hits}
        assert scores[1] == scores[2] == scores[3]
        assert scores[0] > 1.05 * scores[1]


def test_without_trends_it_is_the_clause_of_the_terms(world: tuple[World, str]) -> None:
    made, origin = world
    words = [word for word in made.words if not made.trends[made.tokens.index(word)]][:3]
    with_trends = made.search(made.bodies(words, origin))
    assert with_trends[0] == with_trends[1] == made.search([bodies.sparse(" ".join(words))])[0]
    assert made.search(made.bodies(["뉴스"], origin)[:1]) == [[]]  # no weight, no result


@pytest.mark.parametrize(("depth", "suffix"), [(None, ""), (50, "-hybrid")])
def test_a_template_answers_as_the_body_does(world: tuple[World, str], depth: int | None, suffix: str) -> None:
    made, origin = world
    name = made.name + suffix
    source = bodies.search_template(trend_model=made.trend_model, strength=STRENGTH, days=DAYS, depth=depth)
    made.cluster.put_template(name, "old")
    made.cluster.put_template(name, source)
    assert made.cluster.template(name) == source
    end = AT if origin != "now" else dt.datetime.now(dt.UTC)
    early, late = ((end - dt.timedelta(days=days)).isoformat() for days in (30, 10))
    dates = [(early, None), (None, late), (early, late), (late, "now"), (0, early[:10])]
    asked = [(text, None, None) for text in ODD_TEXTS] + [(ODD_TEXTS[0], *some) for some in dates]
    for text, since, until in asked:
        params = {"query": text, "size": 100, "published_from": since, "published_to": until}
        params = {key: value for key, value in params.items() if value is not None}
        ranking = bodies.ranked(
            bodies.sparse(text), bodies.sparse(text, made.trend_model), strength=STRENGTH, days=DAYS
        )
        dated = {"since": None if since is None else str(since), "until": until}
        query = bodies.hybrid(text, depth, ranking=ranking, **dated) if depth else bodies.published(ranking, **dated)
        rendered = made.cluster.call("POST", "/_render/template", {"id": name, "params": params})["template_output"]
        assert rendered["query"] == query
        answer = made.cluster.search_template(made.name, name, params)["hits"]["hits"]
        plain = made.search([query])[0][:100]
        assert [hit["_id"] for hit in answer] == [hit["_id"] for hit in plain]
        assert [hit["_score"] for hit in answer] == pytest.approx([hit["_score"] for hit in plain], rel=1e-4)
        assert answer
    made.cluster.delete_template(name)
    made.cluster.delete_template(name)
    assert made.cluster.template(name) is None


def test_dates_sizes_and_pages(world: tuple[World, str]) -> None:
    made, origin = world
    source = bodies.search_template(trend_model=made.trend_model, strength=STRENGTH, days=DAYS)
    made.cluster.put_template(made.name, source)

    def ask(**params: Any) -> list[str]:
        answer = made.cluster.search_template(made.name, made.name, {"query": "금리", **params})
        return [hit["_id"] for hit in answer["hits"]["hits"]]

    first = ask()
    assert len(first) == 10
    assert ask(size=4) + ask(size="6", **{"from": 4}) == first
    assert ask(size=0) == []
    with pytest.raises(ClusterError, match="number_format"):
        ask(size='1, "explain": true')
    if origin != "now":  # AT is 21:00 in Seoul
        day_before = (made.ages >= 21 / 24) & (made.ages < 45 / 24) & (made.score(["금리"]) > 0)
        days = {"published_from": "2026-02-28", "published_to": "2026-02-28"}
        assert sorted(map(int, ask(size=100, **days))) == np.flatnonzero(day_before).tolist() != []
    made.cluster.delete_template(made.name)


def test_hybrid_puts_the_recent_one_of_equal_articles_first(world: tuple[World, str]) -> None:
    made, origin = world
    text = "한국은행 금리"
    ranking = bodies.ranked(
        bodies.sparse(text), bodies.sparse(text, made.trend_model), strength=STRENGTH, days=DAYS, origin=origin
    )
    (hits,) = made.search([bodies.hybrid(text, 200, ranking=ranking)])
    scores = {int(hit["_id"]): hit["_score"] for hit in hits}
    assert hits[0]["_id"] == "0"
    assert scores[0] > scores[1] == scores[2] == scores[3]
