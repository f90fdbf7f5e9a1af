"""The document side as a torch module: text ids in, one weight per token of the vocabulary out.

``w = log1p(relu(max over positions of logits))`` (SPLADE-max, arXiv 2109.10086; log1p and relu are monotone, so the
maximum may come first). The logits of a batch would be B x L x V numbers: 32 x 128 x 32,000 take 500 MB in fp32,
and their gradient as much again. ``MaxLogits`` keeps only the maxima (B x V), and its gradient touches only the
entries that somebody asks for: after relu those are the active terms, some hundred of 32,000 a document, so the
decoder's backward pass costs next to nothing.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.encoder import screen
from pipeline.encoder.projection import Projection, pooled
from pipeline.encoder.styles import Styles

BLOCKED_BIAS = -10_000.0
"""Bias of a blocked dimension's logit: far below anything the decoder makes, and exact enough in fp16 and bf16."""
CHUNK_BYTES = 16 * 1024 * 1024
"""Most bytes of logits held at once on a CPU: what a text of 256 tokens has over 32,000 terms in bfloat16."""
CHUNK_BYTES_GPU = 1024 * 1024 * 1024
"""Most bytes of logits held at once on a GPU."""


@functools.cache
def _vendor() -> str:
    """Who made this machine's CPU, as Linux tells it; empty elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def bf16_is_fast(device: torch.device) -> bool:
    """True where bfloat16 matrix products are faster than float32: GPUs from Ampere on, CPUs with AMX, and AMD's with
    AVX512-BF16.

    AVX512-BF16 alone is not enough: on a Xeon whose AMX is masked, products of this model's sizes ran at 86 to 91
    GFLOP/s in bfloat16 and at 119 to 160 in float32, and a training step took 5.2 s instead of 2.9. On an EPYC of Zen 5
    the same products ran at 454 to 503 GFLOP/s a core in bfloat16 and at 105 to 110 in float32. It is read from the
    machine rather than measured, so that a resumed training never goes on in another precision.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        amx = bool(torch.cpu._is_amx_tile_supported())
        return amx or (bool(torch.cpu._is_avx512_bf16_supported()) and _vendor() == "AuthenticAMD")
    return False


def _chunk(hidden: Tensor, rows: int) -> int:
    """How many documents' logits fit into the chunk, at least one. ``hidden`` is (B, L, H), ``rows`` is V."""
    limit = CHUNK_BYTES_GPU if hidden.device.type == "cuda" else CHUNK_BYTES
    return max(1, limit // max(1, hidden.shape[1] * rows * hidden.element_size()))


def counted(hidden: Tensor, mask: Tensor) -> Tensor:
    """``hidden`` (B, L, H) with each position that does not count (``mask`` (B, L) false) replaced by its text's first
    that does, so that it changes no maximum over positions. One at least counts in each text."""
    first = hidden[torch.arange(len(hidden), device=hidden.device), mask.int().argmax(1)].unsqueeze(1)
    return torch.where(mask.unsqueeze(-1), hidden, first)


class MaxLogits(torch.autograd.Function):
    """``max over unmasked positions of (hidden @ weight.T) + bias``: (B, L, H), (V, H), (V,) -> (B, V) fp32.

    Forward holds the logits of a few documents at a time. Backward finds the position of each wanted maximum again
    from the rows that have a gradient; ties go to the first position.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        """See the class. ``mask`` is (B, L), true where a position counts."""
        ctx.save_for_backward(hidden, weight, mask)
        table = weight.to(hidden.dtype)
        states = counted(hidden, mask)
        parts = []
        step = _chunk(hidden, weight.shape[0])
        for start in range(0, hidden.shape[0], step):
            part = states[start : start + step]
            # Positions last: the maximum over neighbours in memory takes a fifth of the time of one over far ones.
            parts.append(torch.bmm(table.expand(len(part), -1, -1), part.transpose(1, 2)).amax(dim=2))
        return torch.cat(parts).float() + bias.float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Gradients of hidden (B, L, H), weight (V, H) and bias (V,) from the one of the maxima (B, V)."""
        hidden, weight, mask = ctx.saved_tensors
        (grad,) = grads
        hidden_grad = torch.zeros_like(hidden, dtype=torch.float32)
        weight_grad = torch.zeros_like(weight, dtype=torch.float32)
        for row in range(hidden.shape[0]):
            wanted = grad[row].nonzero().squeeze(1)
            if wanted.numel() == 0:
                continue
            states, rows, g = hidden[row], weight[wanted], grad[row][wanted].float().unsqueeze(1)
            logits = rows.to(states.dtype) @ states.t()
            logits.masked_fill_(~mask[row].unsqueeze(0), torch.finfo(states.dtype).min)
            position = logits.argmax(dim=1)
            hidden_grad[row].index_add_(0, position, g * rows.float())
            weight_grad.index_add_(0, wanted, g * states[position].float())
        return hidden_grad.to(hidden.dtype), weight_grad.to(weight.dtype), grad.sum(dim=0), None


class SparseDocumentEncoder(nn.Module):
    """A masked language model whose output is one non-negative weight per token of its vocabulary.

    ``model`` is any transformers model with a masked-LM head (BERT, RoBERTa, DistilBERT, ModernBERT ...). Its output
    projection is taken out of it and applied by ``MaxLogits``; ``masked_lm`` puts it back. The blocked dimensions'
    bias is set to ``BLOCKED_BIAS``, so they are blocked for everyone who loads the model, too. A ``projection`` adds
    what the text says as a whole, ``styles`` how its title will be written.
    """

    blocked: Tensor

    def __init__(self, model: nn.Module, blocked: Tensor) -> None:
        """``blocked`` is a boolean tensor (V,). Raises ValueError where the model has no output projection."""
        super().__init__()
        find: Any = getattr(model, "get_output_embeddings", lambda: None)
        decoder: Any = find()
        if not isinstance(decoder, nn.Linear) or decoder.out_features != blocked.numel():
            raise ValueError("the model needs a masked-LM head with one row per token of the vocabulary")
        path = next(name for name, module in model.named_modules() if module is decoder)
        self._parent, _, self._attribute = path.rpartition(".")
        if getattr(decoder, "bias", None) is None:
            decoder.bias = nn.Parameter(torch.zeros(decoder.out_features))
        self.decoder = decoder
        self.backbone = model
        self._swap(nn.Identity())
        self.projection: Projection | None = None
        self.styles: Styles | None = None
        self.register_buffer("blocked", blocked.bool(), persistent=False)
        self._rounded: tuple[tuple[int, int], screen.Rounded] | None = None
        self.block()

    def _swap(self, module: nn.Module) -> None:
        setattr(self.backbone.get_submodule(self._parent), self._attribute, module)

    def block(self) -> None:
        """Set the blocked dimensions' bias (again, after somebody trained or loaded over it)."""
        with torch.no_grad():
            self.decoder.bias[self.blocked] = BLOCKED_BIAS

    def masked_lm(self) -> nn.Module:
        """The transformers model with its output projection in place; call ``detach_head`` when done with it."""
        self.block()
        self._swap(self.decoder)
        return self.backbone

    def detach_head(self) -> None:
        """Take the output projection out of the transformers model again."""
        self._swap(nn.Identity())

    def _maxima(self, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Largest logit of each token over the positions, (B, L, H) and (B, L) -> (B, V) fp32, with gradients.

        Where none are wanted and the CPU is quick in 8 bits, logits that are not above 0 are given as -1.
        """
        bias = self.decoder.bias
        assert bias is not None
        if hidden.dtype == torch.float32 and torch.is_autocast_enabled(hidden.device.type):
            hidden = hidden.to(torch.get_autocast_dtype(hidden.device.type))
        weight, mask = self.decoder.weight, attention_mask.bool()
        with torch.autocast(hidden.device.type, enabled=False):
            if not torch.is_grad_enabled() and screen.usable(hidden):
                return screen.max_logits(counted(hidden, mask), weight, bias, self._rounded_rows())
            result = MaxLogits.apply(hidden, weight, bias, mask)
        assert isinstance(result, Tensor)
        return result

    def _rounded_rows(self) -> screen.Rounded:
        """The output projection in 8 bits, made again when it has changed."""
        weight = self.decoder.weight
        state = (weight.data_ptr(), weight._version)
        if self._rounded is None or self._rounded[0] != state:
            self._rounded = (state, screen.Rounded.of(weight.detach()))
        return self._rounded[1]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Weights of the documents: ids and mask (B, L) -> (B, V) fp32, >= 0, blocked dimensions 0."""
        backbone: Any = self.backbone
        wholes = [part for part in (self.projection, self.styles) if part is not None]
        read = backbone(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=bool(wholes))
        weights = torch.log1p(torch.relu(self._maxima(read.logits, attention_mask)))
        held: dict[tuple[int, ...], Tensor] = {}
        for part in wholes:
            if part.layers not in held:
                held[part.layers] = pooled(read.hidden_states, attention_mask, part.layers)
            weights = weights + part(held[part.layers], weights.shape[1])
        return weights.masked_fill(self.blocked, 0.0)
