"""Queries written by a model: by option, a real model, a tiny one."""

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipeline.config import Config
from pipeline.dataset import Guard, generate_queries, make_training_set
from pipeline.dataset.passages import is_verbatim
from pipeline.errors import BadInputError
from tests.tiny import WORDS, tiny_encoder

DAY = dt.date(2026, 3, 1)
TEXTS = [
    "한국은행 기준금리 인하 발표 은행 물가 환율 성장",
    "코로나19 방역 대책 병원 백신 확진자 마스크",
    "축구 대표팀 경기 승리 감독 선수 서울 부산",
]


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random T5 over the tiny vocabulary."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder = tmp_path_factory.mktemp("t5")
    encoder = tiny_encoder(folder / "tokens")
    torch.manual_seed(3)
    shape = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2}
    config = T5Config(
        vocab_size=len(encoder.vocabulary), **shape, pad_token_id=0, eos_token_id=3, decoder_start_token_id=2,
        initializer_factor=8.0,
    )  # fmt: skip
    T5ForConditionalGeneration(config).save_pretrained(folder / "model")
    encoder.tokenizer.save_pretrained(folder / "model")
    return folder / "model"


def articles():
    words = [word for word in WORDS.split() if not word.startswith("##") and len(word) > 1]
    return [
        SimpleNamespace(
            id=n, story_id=n, outlet="", day=DAY, title=f"{words[n]} {words[n + 9]} 소식 {n}호",
            text=" ".join(" ".join(words[n + k : n + k + 7]) + "." for k in (0, 5, 11)),
        )
        for n in range(12)
    ]  # fmt: skip


def settings(**changes):
    return Config().dataset.model_copy(update={"min_passage_chars": 20, "min_query_chars": 2} | changes)


def test_queries_are_written_alike_again_and_up_to_the_number_wanted(generator):
    first = generate_queries(TEXTS, generator, queries=3, query_tokens=6, batch_size=2)
    assert first == generate_queries(TEXTS, generator, queries=3, query_tokens=6, batch_size=2)
    assert all(1 <= len(found) <= 3 and len(set(found)) == len(found) for found in first)
    with pytest.raises(BadInputError, match="cannot be loaded"):
        generate_queries(TEXTS, generator.parent / "tokens", queries=1)


def test_written_queries_ask_their_passage_and_never_stand_in_it(generator, monkeypatch):
    plain = make_training_set(articles(), as_of=DAY, settings=settings())
    assert "generated" not in plain.report["kinds"]
    made = make_training_set(
        articles(), as_of=DAY, settings=settings(generator=str(generator), generated_per_passage=2)
    )
    written = [example for example in made.examples if example.kind == "generated"]
    assert written
    texts = {row.id: row.text for row in made.passages}
    assert not any(is_verbatim(example.query, texts[example.positive]) for example in written)

    def told(texts, *_, **__):
        return [[text.split(".")[0], "오늘 한국은행 기준금리 결정", "금리 소식 무엇"] for text in texts]

    monkeypatch.setattr("pipeline.dataset.generated.generate_queries", told)
    guard = Guard(0.4)
    guard.hold_out_query("한국은행 기준금리 결정 오늘 한국은행 기준금리 결정 전망")
    held = make_training_set(articles(), as_of=DAY, settings=settings(generator="x"), exclude=guard)
    asked = {example.query for example in held.examples if example.kind == "generated"}
    assert asked == {"금리 소식 무엇"}  # the passage's own words and what comes near a held-out query are refused
    assert held.report["refused"]["query_near_held_out"] == len(held.passages)
    assert held.report["refused"]["query_in_passage"] >= len(held.passages)
