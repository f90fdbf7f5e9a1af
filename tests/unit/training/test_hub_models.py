"""Models of the hub by configuration, as local folders of the same architectures: RoBERTa over WordPiece
(`klue/roberta-base`), ModernBERT over byte-level BPE (`skt/A.X-Encoder-base`), BERT (OpenSearch's multilingual one).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.encoder import Encoder
from pipeline.errors import BadInputError
from pipeline.training import train
from pipeline.training.base.build import build_base
from pipeline.training.base.settings import BaseSettings
from tests.tiny import WORDS
from tests.unit.training.test_trainer import settings

TEXTS = ["코로나19 방역 대책 발표", "한국은행 기준금리 인하", "축구 대표팀 경기 승리", "반도체 수출 기업 주가"]


def byte_level() -> Any:
    """A byte-level BPE tokenizer: its stored tokens are not readable text."""
    from tokenizers import ByteLevelBPETokenizer, processors
    from transformers import PreTrainedTokenizerFast

    backend = ByteLevelBPETokenizer()
    backend.train_from_iterator(
        [WORDS] * 3, vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    )
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=backend._tokenizer, model_max_length=64, **names)


def save_hub_folder(family: str, folder: Path, start: Path) -> None:
    """A random masked language model with its tokenizer, as a hub would give it."""
    import transformers

    tokenizer = byte_level() if family == "ModernBert" else transformers.AutoTokenizer.from_pretrained(start)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    if family == "ModernBert":
        shape |= {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(tokenizer), pad_token_id=0, max_position_embeddings=66, initializer_range=0.5, **shape
    )
    getattr(transformers, f"{family}ForMaskedLM")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.mark.parametrize("family", ["Roberta", "ModernBert", "Bert"])
def test_a_hub_model_becomes_a_base_is_trained_and_loads_elsewhere(family, training_set, start, tmp_path):
    from sentence_transformers import SparseEncoder

    save_hub_folder(family, tmp_path / "hub", start)
    base = build_base(TEXTS, tmp_path / "base", BaseSettings(source=str(tmp_path / "hub"), max_length=48))
    assert Encoder.load(base).max_length == 48
    result = train(training_set, base, tmp_path / "m", settings(steps=3, columns=50, learning_rate=1e-3))
    ours = Encoder.load(result.folder, precision="float32", device="cpu")
    vectors = ours.encode_documents(TEXTS).toarray()
    assert (vectors > 0).any(axis=1).all()
    before = Encoder.load(base, precision="float32", device="cpu").encode_documents(TEXTS).toarray()
    assert np.abs(vectors - before).max() > 1e-4
    theirs = SparseEncoder(str(result.folder), device="cpu")
    documents = theirs.encode_document(TEXTS, convert_to_tensor=True).to_dense().numpy()
    np.testing.assert_allclose(vectors, documents, atol=1e-4)
    queries = theirs.encode_query(TEXTS, convert_to_tensor=True).to_dense().numpy()
    np.testing.assert_allclose(ours.encode_queries(TEXTS).toarray(), queries, atol=1e-5)
    if family == "ModernBert":  # particles of letters and symbols never fire, whatever bytes they are stored as
        readable = [ours.tokenizer.decode([i]).strip() for i in np.flatnonzero(~ours.blocked)]
        assert all(any(char.isalnum() for char in text) for text in readable)


def test_signs_need_a_head_that_is_fitted_here(start, tmp_path):
    save_hub_folder("Bert", tmp_path / "hub", start)
    wanted = BaseSettings(source=str(tmp_path / "hub"), signs=True)
    with pytest.raises(BadInputError, match=r"set base\.signs to false"):
        build_base(TEXTS, tmp_path / "base", wanted)
    assert not (tmp_path / "base").exists()
