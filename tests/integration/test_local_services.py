"""The services that the fixtures give are the real thing."""

from __future__ import annotations

import json
import urllib.request

import psycopg2
import pytest

from localstack import opensearch
from tests.services import libpq


def test_database_is_empty_and_of_version_18(database: str) -> None:
    connection = psycopg2.connect(libpq(database))
    try:
        assert connection.server_version // 10000 == 18
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
            assert cursor.fetchone() == (0,)
            cursor.execute(
                "SELECT datcollate, pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
                (database.rpartition("/")[2],),
            )
            assert cursor.fetchone() == ("C", "UTF8")
    finally:
        connection.close()


def test_nobody_gets_in_without_the_password(database: str) -> None:
    head, _, tail = libpq(database).partition("@")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(f"{head.rpartition(':')[0]}:wrong@{tail}")


def test_nori_splits_korean_compounds(opensearch_url: str) -> None:
    said = opensearch.ask(opensearch_url, "/_analyze", {"tokenizer": "nori_tokenizer", "text": "한국은행이 금리를"})
    assert [token["token"] for token in said["tokens"]] == ["한국", "은행", "이", "금리", "를"]


def test_ml_commons_runs_models_on_this_node(opensearch_url: str) -> None:
    said = opensearch.ask(opensearch_url, "/_cluster/settings?include_defaults=true&flat_settings=true")
    settings = {**said["defaults"], **said["persistent"]}
    assert settings["plugins.ml_commons.only_run_on_ml_node"] == "false"
    assert settings["plugins.ml_commons.allow_registering_model_via_local_file"] == "true"
    assert settings["plugins.ml_commons.native_memory_threshold"] == "99"
    assert settings["plugins.ml_commons.jvm_heap_memory_threshold"] == "100"


def test_sparse_vectors_are_understood(opensearch_url: str) -> None:
    body = {"mappings": {"properties": {"terms": {"type": "rank_features"}}}}
    request = urllib.request.Request(
        f"{opensearch_url}/local-sparse", json.dumps(body).encode(), {"Content-Type": "application/json"}, method="PUT"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
    opensearch.ask(opensearch_url, "/local-sparse/_doc/1?refresh=true", {"terms": {"금리": 2.0, "은행": 1.0}})
    query = {"query": {"neural_sparse": {"terms": {"query_tokens": {"금리": 1.5}}}}}
    hits = opensearch.ask(opensearch_url, "/local-sparse/_search", query)["hits"]["hits"]
    assert [hit["_score"] for hit in hits] == [pytest.approx(3.0)]
