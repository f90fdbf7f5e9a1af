"""A new vocabulary for a trained encoder: embeddings put together from the old ones, then self-distillation.

The start: a new token's embedding is the mean of the embeddings of the old pieces that it is written with, as the
start of a word and inside one, weighted by how often the texts use it either way. Then the student (the new
vocabulary) learns to give every *word* of a text the vector that the teacher (the old vocabulary) gives it: mean of
the last hidden states over the word's own tokens. A text has some 30 words, so a step holds 30 times as many targets
as one with sentence vectors alone, and the words are what the masked-LM head will read.
"""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.encoder.module import bf16_is_fast
from pipeline.errors import GaramError
from pipeline.training import attention
from pipeline.training.base.settings import AdaptationSettings

Step = Callable[[int, int, dict[str, float]], None]
_SPACE = re.compile(r"\s")


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where it runs in hardware."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if bf16_is_fast(device) else nullcontext()


def initial_embeddings(
    vocabulary: Sequence[str], special: dict[str, str], tokenizer: Any, old_tokenizer: Any, table: Tensor,
    texts: Sequence[str],
) -> Tensor:  # fmt: skip
    """Embeddings (V, H) of ``vocabulary`` from the old ``table`` (V_old, H).

    ``special`` maps new special tokens to old ones. ``texts`` are counted to tell word starts from insides.
    """
    starts, insides = np.ones(len(vocabulary)), np.ones(len(vocabulary))
    for encoding in tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False):
        ids = np.asarray(encoding.ids, np.int64)
        words = np.asarray([-1 if word is None else word for word in encoding.word_ids])
        first = np.ones(len(ids), np.bool_)
        first[1:] = words[1:] != words[:-1]
        np.add.at(starts, ids[first], 1)
        np.add.at(insides, ids[~first], 1)
    share = torch.from_numpy(starts / (starts + insides)).float().unsqueeze(1)

    plain = [token.removeprefix("##") for token in vocabulary]
    # "·" is a piece of its own, so what follows it without a space is written as the inside of a word.
    mark = old_tokenizer("·", add_special_tokens=False)["input_ids"]
    spelled = old_tokenizer(plain, add_special_tokens=False)["input_ids"]
    marked = old_tokenizer(["·" + token for token in plain], add_special_tokens=False)["input_ids"]
    mean = table.mean(dim=0)
    at_start = torch.stack([table[row].mean(dim=0) if row else mean for row in spelled])
    inside = torch.stack(
        [
            table[row[len(mark) :]].mean(dim=0) if row[: len(mark)] == mark and len(row) > len(mark) else start
            for row, start in zip(marked, at_start, strict=True)
        ]
    )
    result = share * at_start + (1 - share) * inside
    old = old_tokenizer.get_vocab()
    for index, token in enumerate(vocabulary):
        if token in special:
            result[index] = table[old[special[token]]]
    return result


def transplant(model: Any, embeddings: Tensor, pad: int, layers: int) -> Any:
    """A copy of a BertModel with other word embeddings (V, H) and only ``layers`` of its layers, evenly spaced."""
    student = copy.deepcopy(model)
    student.resize_token_embeddings(embeddings.shape[0], mean_resizing=False)
    with torch.no_grad():
        student.get_input_embeddings().weight.copy_(embeddings)
    student.config.pad_token_id = pad
    student.get_input_embeddings().padding_idx = pad
    total = len(student.encoder.layer)
    keep = sorted({round(x) for x in np.linspace(0, total - 1, min(layers, total))})
    student.encoder.layer = torch.nn.ModuleList([student.encoder.layer[index] for index in keep])
    student.config.num_hidden_layers = len(keep)
    return student


def window(text: str, characters: int, rng: random.Random) -> str:
    """A random stretch of ``text`` of about ``characters`` that begins and ends at a space."""
    if len(text) <= characters:
        return text
    start = rng.randrange(len(text) - characters + 1)
    start = text.find(" ", start) + 1 if start else 0
    end = text.rfind(" ", start, start + characters)
    return text[start : end if end > start else start + characters]


def word_index(text: str, encoding: Any, shift: int = 0) -> list[int]:
    """Which word (number of spaces before it) each token of ``encoding`` belongs to; -1 for special tokens.

    ``shift`` characters of prefix come first and belong to no word.
    """
    number = np.cumsum([_SPACE.match(char) is not None for char in text])
    result = []
    for (start, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True):
        own = (place for place in range(max(start - shift, 0), end - shift) if not _SPACE.match(text[place]))
        place = -1 if special else next(own, -1)
        result.append(-1 if place < 0 else int(number[place]))
    return result


def word_vectors(hidden: Tensor, words: Tensor, count: int) -> Tensor:
    """Mean of the states (B, L, H) over each of ``count`` words of each text; ``words`` (B, L), -1 is left out.

    Returns (B * count, H); a word without tokens is 0.
    """
    batch, _, width = hidden.shape
    slots = (words + torch.arange(batch, device=words.device).unsqueeze(1) * count).masked_fill(words < 0, -1)
    flat, keep = slots.reshape(-1), (words >= 0).reshape(-1)
    sums = torch.zeros(batch * count, width, device=hidden.device, dtype=torch.float32)
    sums = sums.index_add(0, flat[keep], hidden.reshape(-1, width)[keep].float())
    sizes = torch.zeros(batch * count, device=hidden.device).index_add(0, flat[keep], keep[keep].float())
    return sums / sizes.clamp(min=1).unsqueeze(1)


def _padded(tokenizer: Any, texts: list[str], prefix: str, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and word numbers of a batch, each (B, L)."""
    encoded = tokenizer([prefix + text for text in texts], truncation=True, max_length=length)
    rows = [word_index(text, encoded.encodings[i], len(prefix)) for i, text in enumerate(texts)]
    width = max(len(row) for row in rows)
    ids = torch.full((len(rows), width), tokenizer.pad_token_id)
    words = torch.full((len(rows), width), -1)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(encoded["input_ids"][i])
        words[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask, words


def adapt(
    student: Any, tokenizer: Any, teacher: Any, old_tokenizer: Any, prefix: str, texts: Sequence[str],
    settings: AdaptationSettings, progress: Step | None = None,
) -> list[float]:  # fmt: skip
    """Train ``student`` in place towards the teacher's word vectors; the losses, one a step.

    The loss is the squared distance per word divided by the variance of the teacher's vectors in the batch: 1 means
    "no better than the mean vector", 0 means equal. AdamW, linear warm-up over a tenth of the steps, then linear to 0.
    Raises GaramError when the loss is not finite.
    """
    device = next(student.parameters()).device
    rng = random.Random(settings.seed)
    torch.manual_seed(settings.seed)
    table = student.get_input_embeddings().weight
    rest = [p for p in student.parameters() if p is not table and p.requires_grad]
    groups = [
        {"params": [table], "lr": settings.embedding_learning_rate, "weight_decay": 0.0},
        {"params": rest, "lr": settings.learning_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    warm = max(1, settings.steps // 10)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda n: min((n + 1) / warm, max(0.0, (settings.steps - n) / max(1, settings.steps - warm)))
    )
    order: list[int] = []
    losses: list[float] = []
    student.eval()  # dropout would blur the targets
    attention.install(student)
    for step in range(settings.steps):
        while len(order) < settings.batch_size:
            order.extend(rng.sample(range(len(texts)), len(texts)))
        batch = [window(texts[order.pop()], settings.window_characters, rng) for _ in range(settings.batch_size)]
        ids, mask, words = (x.to(device) for x in _padded(tokenizer, batch, "", settings.max_length))
        old_ids, old_mask, old_words = (
            x.to(device) for x in _padded(old_tokenizer, batch, prefix, settings.max_length)
        )
        count = int(max(words.max(), old_words.max())) + 1
        with autocast(device):
            with torch.no_grad():
                target = word_vectors(
                    teacher(input_ids=old_ids, attention_mask=old_mask).last_hidden_state, old_words, count
                )
            got = word_vectors(student(input_ids=ids, attention_mask=mask).last_hidden_state, words, count)
        both = (target.abs().sum(1) > 0) & (got.detach().abs().sum(1) > 0)
        target, got = target[both], got[both]
        variance = target.var(dim=0, correction=0).sum()
        loss = (got - target).pow(2).sum(dim=1).mean() / variance
        if not torch.isfinite(loss):
            raise GaramError(f"The distillation broke at step {step} (loss {loss.item()}): lower its learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        rate.step()
        losses.append(float(loss.detach()))
        if progress:
            progress(step + 1, settings.steps, {"loss": losses[-1]})
    return losses
