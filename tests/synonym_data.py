"""A tiny encoder and a tiny language model with random weights, and news in which known words are synonyms."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path

TOPICS = {
    "금리": ["한국은행", "기준금리", "물가", "통화", "대출", "은행"],
    "방역": ["확진자", "백신", "병원", "검사", "환자", "의료"],
    "반도체": ["삼성전자", "수출", "공장", "장비", "투자", "기업"],
    "선거": ["국회", "후보", "투표", "정당", "의원", "공약"],
}
ALIASES = [
    ("한국은행", "한은"),
    ("인공지능", "AI"),
    ("국내총생산", "GDP"),
    ("세계보건기구", "WHO"),
    ("식품의약품안전처", "식약처"),
    ("공정거래위원회", "공정위"),
    ("업무협약", "MOU"),
    ("최고경영자", "CEO"),
    ("국제통화기금", "IMF"),
    ("금융감독원", "금감원"),
]


def news(count: int, last: dt.date = dt.date(2020, 2, 29), seed: int = 5) -> tuple[list[str], list[dt.date]]:
    """``count`` articles of the 60 days up to ``last`` with aliases in parentheses."""
    chance = random.Random(seed)
    texts, days = [], []
    for number in range(count):
        topic, words = chance.choice(sorted(TOPICS.items()))
        long, short = ALIASES[number % len(ALIASES)]
        first, second, third = chance.sample(words, 3)
        name = chance.choice([long, short])
        lines = [
            f"{long}({short})는 {topic} 문제를 다룬 {first} 보고서를 발표했다.",
            f"{name}는 {second}와 {third}의 영향을 받는 {topic} 상황을 점검한다고 밝혔다.",
            f"이날 {first} 관계자는 {topic} 대책으로 {second} 지원을 늘리겠다고 말했다.",
            f"{number}번째 소식에서 {long} 담당자는 {third} 전망을 내놓았다. 홍길동({20 + number % 50}) 씨도 참석했다.",
        ]
        texts.append(" ".join(lines))
        days.append(last - dt.timedelta(days=number % 60))
    return texts, days


def tiny_encoder(folder: Path, texts: list[str]) -> Path:
    """A BERT of 2 layers with a WordPiece vocabulary of ``texts``; its weights are random but always the same."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    pieces = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    pieces.train_from_iterator(texts, vocab_size=600, show_progress=False)
    special = {
        name: f"[{token}]"
        for name, token in (
            ("unk_token", "UNK"),
            ("pad_token", "PAD"),
            ("cls_token", "CLS"),
            ("sep_token", "SEP"),
            ("mask_token", "MASK"),
        )
    }
    folder.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(tokenizer_object=pieces._tokenizer, **special).save_pretrained(folder)
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=pieces.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def tiny_language_model(folder: Path) -> Path:
    """A causal model with random weights over bytes: loads, batches and answers like a real one, and knows nothing."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<eos>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    folder.mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>").save_pretrained(folder)
    torch.manual_seed(2)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=2048,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder
