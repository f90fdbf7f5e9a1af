"""A tiny encoder: a BERT of 2 layers and 16 dimensions over a WordPiece vocabulary of about 200 tokens, seeded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.encoder import Encoder

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


def tiny_encoder(folder: Path, *, seed: int = 0, max_length: int = 64) -> Encoder:
    """An encoder with random weights and query weights between 0.5 and 2, saved in ``folder``."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    from pipeline.encoder import Encoder

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
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=max_length, **{f"{key}_token": name for key, name in names.items()}
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokens),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.5,
    )
    weights = np.linspace(0.5, 2 + seed / 64, len(tokens), dtype=np.float32)
    encoder = Encoder(BertForMaskedLM(config).eval(), tokenizer, weights, device="cpu", precision="float32")
    encoder.save(folder)
    return encoder
