"""A masked-LM head for an encoder that has none, fitted in closed form and calibrated to a lexical, sparse start.

BERT's head is ``logits = LayerNorm(gelu(A h + a)) . D^T + c``. Here

* ``A h + a`` whitens the states (zero mean, round covariance within tokens) and adds ``SHIFT``: from there on gelu is
  the identity, and LayerNorm takes the shift off again. So the head is linear at the start, with weights of ordinary
  size (made linear by tiny weights, as in ``shared/tools/e5/mlm_head.py``, it changes wildly in AdamW's first steps);
* a row ``D_v`` is the mean of the whitened states over the occurrences of token v, as in linear discriminant
  analysis, drawn towards what the token's input embedding predicts (ridge) where v is rare;
* ``D_v`` is then scaled and ``c_v`` set so that (1) the mean logit of v at its own positions is ``own_logit`` for
  every v, and (2) v fires in a text without v about as often as every other token, such that ``expansion_terms``
  other tokens fire in a text. The first makes the start lexical (equal weights times IDF), the second sparse.

The decoder is not tied to the input embeddings: what a token reads like and what calls for it are different things.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import BadInputError
from pipeline.training.base.settings import HeadSettings
from pipeline.training.base.transplant import autocast

SHIFT = 4.0
"""Added before gelu, in deviations of the whitened states; gelu(x) = x within 0.01 for x > 2.7."""
SHRINKAGE = 8.0
"""Occurrences at which a token's own statistics and the prior weigh the same."""


@dataclass
class States:
    """Hidden states of tokens: ``rows`` (T, H) float32, ``ids`` (T,) the tokens, ``texts`` (T,) numbers of texts."""

    rows: Tensor
    ids: Tensor
    texts: Tensor


@torch.inference_mode()
def hidden_states(model: Any, tokenizer: Any, texts: Sequence[str], max_length: int, batch_size: int = 32) -> States:
    """Last hidden states of all tokens of ``texts``, special ones included."""
    device = next(model.parameters()).device
    rows, ids, numbers = [], [], []
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        batch = tokenizer(
            [texts[index] for index in part], truncation=True, max_length=max_length, padding=True,
            return_tensors="pt", return_token_type_ids=False,
        ).to(device)  # fmt: skip
        with autocast(device):
            hidden = model(**batch).last_hidden_state.float()
        keep = batch["attention_mask"].bool()
        rows.append(hidden[keep].cpu())
        ids.append(batch["input_ids"][keep].cpu())
        numbers.append(torch.tensor(part).unsqueeze(1).expand(keep.shape)[keep.cpu()])
    return States(torch.cat(rows), torch.cat(ids), torch.cat(numbers))


def whitening(rows: Tensor, ids: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """(A, a) such that ``A h + a`` has zero mean, deviation 1, and a round covariance *within* tokens.

    ``rows`` (T, H) are states of the tokens ``ids`` (T,); A is (H, H), a is (H,).

    The covariance is taken around the mean of each token that occurs twice or more (Fisher's discriminant): what
    varies from text to text for one and the same token is damped, what tells tokens apart is kept.
    """
    size = int(ids.max()) + 1
    counts = torch.bincount(ids, minlength=size).float()
    means = torch.zeros(size, rows.shape[1]).index_add_(0, ids, rows) / counts.clamp(min=1).unsqueeze(1)
    often = counts[ids] > 1
    if int(often.sum()) < rows.shape[1]:
        raise BadInputError("The texts are too few to fit a masked-LM head on: give some hundred passages.")
    weight = (counts / (counts - 1).clamp(min=1)).sqrt()[ids[often]].unsqueeze(1)
    centred = ((rows[often] - means[ids[often]]) * weight).double()
    covariance = centred.T @ centred / len(centred)
    values, vectors = torch.linalg.eigh(covariance)
    matrix = ((vectors * (values.clamp(min=0) + ridge * values.mean()).rsqrt()) @ vectors.T).float()
    mean = rows.mean(dim=0)
    matrix = matrix / ((rows - mean) @ matrix.T).std()
    return matrix, -(matrix @ mean)


def class_means(z: Tensor, ids: Tensor, prior: Tensor) -> Tensor:
    """Rows (V, H): mean of the states ``z`` (T, H) of each token, shrunk towards ``prior`` (V, H) where rare."""
    sums = torch.zeros_like(prior).index_add_(0, ids, z)
    counts = torch.bincount(ids, minlength=len(prior)).float().unsqueeze(1)
    result: Tensor = (sums + SHRINKAGE * prior) / (counts + SHRINKAGE)
    return result


def predicted_rows(z: Tensor, ids: Tensor, embeddings: Tensor, ridge: float) -> Tensor:
    """What a token's input embedding (V, H) says about its states: ridge regression of token means, (V, H)."""
    counts = torch.bincount(ids, minlength=len(embeddings)).float()
    seen = counts > 0
    means = torch.zeros_like(embeddings).index_add_(0, ids, z)[seen] / counts[seen].unsqueeze(1)
    weight = counts[seen].sqrt().unsqueeze(1)
    centre = embeddings.mean(dim=0)
    x = (embeddings[seen] - centre) * weight
    gram = x.T @ x
    solution = torch.linalg.solve(gram + ridge * gram.diagonal().mean() * torch.eye(len(gram)), x.T @ (means * weight))
    result: Tensor = (embeddings - centre) @ solution
    return result


@torch.inference_mode()
def calibrate(
    z: Tensor, states: States, rows: Tensor, blocked: Tensor, own_logit: float, expansion: int
) -> tuple[Tensor, Tensor]:
    """Scale (V,) and bias (V,) of the decoder rows, see the module's text. ``z`` (T, H) are the head's states."""
    vocabulary = len(rows)
    total, square, count = (torch.zeros(vocabulary) for _ in range(3))
    own_sum, own_count = torch.zeros(vocabulary), torch.zeros(vocabulary)
    maxima = []
    for number in torch.unique(states.texts):
        here = states.texts == number
        best = (z[here] @ rows.T).amax(dim=0)
        own = torch.unique(states.ids[here])
        own_sum[own] += best[own]
        own_count[own] += 1
        best[own] = float("nan")
        other = ~best.isnan()
        total[other] += best[other]
        square[other] += best[other].square()
        count[other] += 1
        maxima.append(best)
    mean = total / count.clamp(min=1)
    deviation = (square / count.clamp(min=1) - mean.square()).clamp(min=1e-6).sqrt()
    # a token that hardly varied among these texts may vary elsewhere: no deviation below the usual one
    deviation = deviation.clamp(min=float(deviation[~blocked].median()))
    standard = ((torch.stack(maxima) - mean) / deviation)[:, ~blocked]
    values = standard[~standard.isnan()]
    rank = max(1, min(len(values) - 1, expansion * len(maxima)))
    z_score = values.kthvalue(len(values) - rank).values
    threshold = mean + z_score * deviation
    gap = own_sum / own_count.clamp(min=1) - threshold
    typical = (own_sum - threshold * own_count)[~blocked].sum() / own_count[~blocked].sum()
    gap = (gap * own_count + typical * 4) / (own_count + 4)
    scale = own_logit / gap.clamp(min=0.25 * typical)
    return scale, -threshold * scale


def fit_head(
    model: Any, tokenizer: Any, texts: Sequence[str], blocked: np.ndarray, settings: HeadSettings
) -> tuple[Any, dict[str, float]]:
    """A BertForMaskedLM around the BertModel ``model`` with a fitted head, and figures of the fit.

    ``blocked`` is (V,) bool. ``texts`` are split: the first for the fit, the next for the calibration. Raises
    BadInputError for a model that is not BERT, or too few texts.
    """
    from transformers import BertForMaskedLM

    if getattr(model.config, "model_type", "") != "bert":
        raise BadInputError(f"A head can be fitted to BERT models only, not to {model.config.model_type}.")
    if len(texts) < 2:
        raise BadInputError("A masked-LM head needs texts to be fitted on: give at least two.")
    cut = min(settings.fit_texts, len(texts) // 2)
    states = hidden_states(model, tokenizer, texts[:cut], settings.max_length)
    ordinary = torch.tensor(~blocked)[states.ids]
    matrix, shift = whitening(states.rows[ordinary], states.ids[ordinary], settings.ridge)
    z = torch.nn.functional.layer_norm(states.rows @ matrix.T + shift, (states.rows.shape[1],))
    embeddings = model.get_input_embeddings().weight.detach().float().cpu()
    prior = predicted_rows(z[ordinary], states.ids[ordinary], embeddings, settings.ridge)
    rows = class_means(z[ordinary], states.ids[ordinary], prior)
    held = hidden_states(model, tokenizer, texts[cut : cut + settings.calibration_texts], settings.max_length)
    z = torch.nn.functional.gelu(held.rows @ matrix.T + shift + SHIFT)
    z = torch.nn.functional.layer_norm(z, (z.shape[1],))
    scale, bias = calibrate(z, held, rows, torch.from_numpy(blocked), settings.own_logit, settings.expansion_terms)

    config = model.config
    config.tie_word_embeddings = False
    config.layer_norm_eps = float(config.layer_norm_eps)
    result = BertForMaskedLM(config)
    result.bert.load_state_dict(model.state_dict(), strict=False)
    head: Any = result.cls.predictions
    with torch.no_grad():
        head.transform.dense.weight.copy_(matrix)
        head.transform.dense.bias.copy_(shift + SHIFT)
        head.transform.LayerNorm.weight.fill_(1.0)
        head.transform.LayerNorm.bias.zero_()
        head.decoder.weight.copy_(rows * scale.unsqueeze(1))
        head.decoder.bias.copy_(bias)
    own = (z @ rows.T)[torch.arange(len(z)), held.ids] if len(z) * len(rows) < 4e8 else None
    figures = {"fit_tokens": float(len(states.ids)), "scale": float(scale.mean())}
    if own is not None:
        figures["own"] = float(own.mean())
    return result.eval(), figures


@torch.no_grad()
def start_alike(decoder: torch.nn.Linear, tokens: Tensor) -> None:
    """Let ``tokens`` (V,) bool fire equally in every text, so that they rank nothing yet and all of them can learn."""
    decoder.weight[tokens] = 0.0
    decoder.bias[tokens] = 1.0
