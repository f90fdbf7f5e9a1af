"""Attention for training in bfloat16 on a CPU, where torch's own has a slow backward pass.

For 16 texts of 128 tokens, 12 heads of 32 dimensions, one core of a Xeon with AMX: forward and backward 89 ms by
torch's flash kernel and 27 ms by products of whole heads (docs/experiments.md). Everywhere else torch's is taken:
without gradients it is the fastest, in float32 too, and on a GPU it is another kernel.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NAME = "garam"
"""What transformers knows it by; not written into a saved model."""
SCORES_BYTES = 8 * 1024 * 1024
"""Most bytes of attention scores computed at once, so that they stay in the cache."""


def install(backbone: nn.Module) -> None:
    """Have ``backbone``, a transformers model, attend this way, if its kind lets its attention be chosen and it uses
    torch's now; leave it as it is otherwise."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    model: Any = backbone
    if getattr(model.config, "_attn_implementation", None) != "sdpa" or not model._can_set_attn_implementation():
        return
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """transformers' interface: (B, heads, L, D) each -> (B, L, heads, D). Where a case is not ours, torch's."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    ours = (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and torch.is_grad_enabled()
        and query.requires_grad
        and query.shape == key.shape == value.shape
        and (attention_mask is None or attention_mask.dtype == torch.bool)
        and not (options.get("dropout") or options.get("is_causal", getattr(module, "is_causal", False)))
        and options.get("position_bias") is None
        and options.get("softcap") is None
    )
    if not ours:
        found: tuple[Tensor, None] = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return found
    return attend(query, key, value, attention_mask, options.get("scaling")).transpose(1, 2).contiguous(), None


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None) -> Tensor:
    """``softmax(query key^T * scaling) value`` over the positions where ``mask`` (B or 1, 1 or heads, L or 1, L) is
    true, (B, heads, L, D); ``scaling`` by default 1 / sqrt(D)."""
    size, heads, length, width = query.shape
    scaling = width**-0.5 if scaling is None else scaling
    step = max(1, SCORES_BYTES // (heads * length * length * query.element_size()))
    # In one addition for all texts: filling the scores costs twice as much, and that again in the backward pass.
    hidden = None
    if mask is not None:
        lowest = torch.finfo(query.dtype).min
        hidden = torch.zeros(mask.shape, dtype=query.dtype, device=query.device).masked_fill_(~mask, lowest)
        hidden = hidden.expand(size, -1, -1, -1)
    parts = []
    with torch.autocast(query.device.type, enabled=False):
        for start in range(0, size, step):
            q, k, v = (held[start : start + step].reshape(-1, length, width) for held in (query, key, value))
            scores = torch.bmm(q * scaling, k.transpose(1, 2)).view(-1, heads, length, length)
            if hidden is not None:
                scores = scores + hidden[start : start + step]
            shares = scores.softmax(-1).view(-1, length, length)
            parts.append(torch.bmm(shares, v).view(-1, heads, length, width))
    return torch.cat(parts) if len(parts) > 1 else parts[0]
