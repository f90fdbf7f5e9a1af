"""OpenSearch comes back with what was deployed on it, and says so only then."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import time
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from localstack import opensearch, processes, stack
from localstack.state import StateFolder
from tests.services import SessionStack

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "금리", "한국은행"]


def model_zip() -> bytes:
    """A query tokenizer with a weight for each of its words."""
    tokenizer = Tokenizer(WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tokenizer.json", tokenizer.to_str())
        archive.writestr("idf.json", json.dumps({"금리": 2.0, "한국은행": 1.5}))
    return content.getvalue()


def deploy(base: str) -> str:
    """Register and deploy the tokenizer; returns the model's id."""
    content = model_zip()
    meta = {
        "name": "launcher-test",
        "version": "1",
        "function_name": "SPARSE_TOKENIZE",
        "model_format": "TORCH_SCRIPT",
        "model_content_size_in_bytes": len(content),
        "model_content_hash_value": hashlib.sha256(content).hexdigest(),
        "total_chunks": 1,
    }
    model = str(opensearch.ask(base, "/_plugins/_ml/models/_register_meta", meta, 30)["model_id"])
    chunk = f"{base}/_plugins/_ml/models/{model}/upload_chunk/0"
    request = urllib.request.Request(chunk, content, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        assert response.status == 200
    opensearch.ask(base, f"/_plugins/_ml/models/{model}/_deploy", {}, 30)
    end = time.monotonic() + 60
    while opensearch.ask(base, f"/_plugins/_ml/models/{model}")["model_state"] != "DEPLOYED":
        assert time.monotonic() < end
        time.sleep(0.2)
    return model


@pytest.fixture
def searchable(opensearch_url: str) -> tuple[str, dict[str, object]]:
    """An index with one document, and a plain-text query for it through a deployed model."""
    body = {"mappings": {"properties": {"terms": {"type": "rank_features"}}}}
    ask(opensearch_url, "PUT", "/launcher", body)
    opensearch.ask(opensearch_url, "/launcher/_doc/1?refresh=true", {"terms": {"금리": 1.0, "한국은행": 1.0}})
    query = {"neural_sparse": {"terms": {"query_text": "한국은행 금리", "model_id": deploy(opensearch_url)}}}
    return opensearch_url, {"query": query}


def test_after_a_kill_it_is_ready_only_when_models_answer(
    searchable: tuple[str, dict[str, object]], session_stack: SessionStack
) -> None:
    url, query = searchable
    before = opensearch.ask(url, "/launcher/_search", query, 30)["hits"]["hits"]
    assert [hit["_score"] for hit in before] == [pytest.approx(3.5)]
    state = StateFolder(session_stack.folder).load()
    assert state is not None
    record = state.processes["opensearch"]
    os.kill(record.pid, signal.SIGKILL)
    while processes.is_alive(record):
        time.sleep(0.05)
    session_stack.start("opensearch")
    # At once, without a try before: that is what "ready" is for.
    after = opensearch.ask(url, "/launcher/_search", query, 30)["hits"]["hits"]
    assert [hit["_score"] for hit in after] == [pytest.approx(3.5)]
    assert stack.status(folder=session_stack.folder).healthy


@pytest.mark.parametrize("text", ["한국은행 금리", 'a "b" \\ c\nd\te / {{x}} {{{y}}} <&> \u2028'])
def test_search_templates_are_stored_and_filled_with_any_text(opensearch_url: str, text: str) -> None:
    source = {"query": {"match": {"terms": "{{words}}"}}}
    ask(opensearch_url, "PUT", "/_scripts/launcher", {"script": {"lang": "mustache", "source": source}})
    wanted = {"query": {"match": {"terms": text}}}
    params = {"words": text}
    made = ask(opensearch_url, "POST", "/_render/template", {"id": "launcher", "params": params})
    assert made["template_output"] == wanted
    ask(opensearch_url, "PUT", "/launcher-template/_doc/1?refresh=true", {"terms": text + " word"})
    found = ask(opensearch_url, "GET", "/launcher-template/_search/template", {"id": "launcher", "params": params})
    plain = ask(opensearch_url, "GET", "/launcher-template/_search", wanted)
    assert found["hits"] == plain["hits"]
    assert found["hits"]["total"]["value"] == 1


def ask(base: str, method: str, path: str, body: object) -> dict[str, Any]:
    """What OpenSearch answers to one request."""
    content = json.dumps(body).encode()
    request = urllib.request.Request(base + path, content, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def test_a_heap_that_is_no_number_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GARAM_OPENSEARCH_HEAP_MB", "2g")
    with pytest.raises(opensearch.ConfigError, match="GARAM_OPENSEARCH_HEAP_MB is '2g'; it must be a number of MiB"):
        opensearch.heap_mb()
