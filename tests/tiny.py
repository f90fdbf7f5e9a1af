"""A tiny encoder: a BERT of 2 layers and 16 dimensions, a table of random rows, about 200 query tokens; seeded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pipeline.encoder import DenseEncoder, Encoder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """
코로나19 코로나 마스크 확진자 백신 한국은행 금리 기준금리 인하 인상 경제 성장 물가 환율 대통령 국회 선거 정부
회의 발표 대책 방역 병원 학교 개학 연기 온라인 수업 축구 대표팀 경기 승리 감독 선수 날씨 태풍 폭우 지진 서울
부산 대구 광주 인천 삼성 반도체 수출 기업 주가 코스피 ai 인공지능 3 19 2020 % . , ## 大 뉴스 속보
##은 ##는 ##이 ##가 ##을 ##를 ##에 ##의 ##와 ##과 ##률 ##했다 ##한다 ##으로 ##에서 ##도 ##만
"""
SYLLABLES = (
    "가나다라마바사아자차카타파하거너더러머버서어저처커터퍼허고노도로모보소오조초코토포호구누두루무부수우주추쿠투푸후"
)


def tiny_tokenizer(max_length: int = 64) -> Any:
    """A WordPiece tokenizer of 200 tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    from pipeline.encoder.normaliser import put_in_front

    pieces = [*WORDS.split(), *SYLLABLES, *(f"##{char}" for char in SYLLABLES)]
    tokens = list(dict.fromkeys([*SPECIAL, *pieces]))[:200]
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=max_length, **{f"{key}_token": name for key, name in names.items()}
    )
    return put_in_front(made)


def tiny_dense(*, seed: int = 0) -> DenseEncoder:
    """A dense encoder with random weights, E5's prefixes, and a tokenizer of its own."""
    import torch
    from transformers import BertConfig, BertModel

    from pipeline.encoder.dense import DenseEncoder, DenseSettings

    tokenizer = tiny_tokenizer()
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.5,
    )
    model = BertModel(config, add_pooling_layer=False).eval()
    return DenseEncoder(model, tokenizer, DenseSettings("mean", "query: ", "passage: "), device="cpu")


def tiny_encoder(folder: Path, *, seed: int = 0, gain: float = 1.0, max_chars: int = 200) -> Encoder:
    """An encoder with random weights, query weights between 0.5 and 2 and a random table, saved in ``folder`` and
    loaded from there. With a ``gain`` of 0 it is a base: its documents are the lexical floor."""
    from pipeline.encoder import Encoder, Encoding, QueryTable

    tokenizer = tiny_tokenizer()
    size = len(tokenizer)
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(size, 16)).astype(np.float32)
    thresholds = np.full(size, 0.3, np.float32)
    weights = np.linspace(0.5, 2 + seed / 64, size, dtype=np.float32)
    made = Encoder(
        tiny_dense(seed=seed),
        tokenizer,
        weights,
        encoding=Encoding(average_length=8.0, max_chars=max_chars, window_chars=60, max_terms=40),
        table=QueryTable(rows, thresholds, gain),
        device="cpu",
    )
    rows[made.blocked] = 0.0
    thresholds[made.blocked] = np.inf
    made.save(folder)
    return Encoder.load(folder, device="cpu")
