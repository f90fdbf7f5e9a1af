"""A local causal language model as validator: batched log-odds of 예 against 아니오.

Loads a Hugging Face folder or hub model, in 4 bits (bitsandbytes) where there is a GPU, or a GGUF file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import BadInputError, ConfigError
from pipeline.progress import Progress, silent
from pipeline.synonyms.validators.prompt import NO, YES, askable, prompt
from pipeline.synonyms.validators.proof import Abstention, Question

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

REFUSED = -1e6  # score of a pair with a word that is not allowed in a prompt: below every threshold


class LocalValidator:
    """A model on this machine, loaded at construction."""

    def __init__(
        self,
        model: str | Path,
        *,
        gguf: str = "",
        four_bit: bool = True,
        batch_size: int = 16,
        progress: Progress = silent,
    ) -> None:
        import torch

        self.name = f"llm:{Path(str(model)).name}"
        self.notes: list[str] = []
        self.batch_size, self.progress = batch_size, progress
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer, self.model = _load(str(model), gguf, four_bit, self.device)
        self.model.eval()
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token or self.tokenizer.unk_token
        self.tokenizer.padding_side = "left"  # so that the answer is at the last position of every row

    def scores(self, questions: Sequence[Question]) -> list[float | Abstention]:
        """log p(예 | prompt) - log p(아니오 | prompt), the mean of both orders of the words."""
        ready = [(i, q) for i, q in enumerate(questions) if askable(q.a) and askable(q.b)]
        scores: list[float | Abstention] = [REFUSED] * len(questions)
        texts = [text for _, q in ready for text in (prompt(q.a, q.b), prompt(q.b, q.a))]
        odds: list[float] = []
        for start in range(0, len(texts), self.batch_size):
            odds += self._log_odds(texts[start : start + self.batch_size])
            self.progress(f"questions to {self.name}", min(start + self.batch_size, len(texts)) // 2, len(ready))
        for (index, _), forward, backward in zip(ready, odds[::2], odds[1::2], strict=True):
            mean = (forward + backward) / 2
            scores[index] = mean if math.isfinite(mean) else Abstention("log-odds that are no number")
        return scores

    def _log_odds(self, texts: list[str]) -> list[float]:
        import torch

        sums = []
        for answer in (YES, NO):
            ids = [self.tokenizer(text)["input_ids"] for text in texts]
            tail = self.tokenizer(f" {answer}", add_special_tokens=False)["input_ids"]
            encoded = self.tokenizer.pad({"input_ids": [row + tail for row in ids]}, return_tensors="pt").to(
                self.device
            )
            with torch.inference_mode():
                # Only the logits of the answer: those of the whole prompt would not fit into memory.
                logits = self.model(**encoded, logits_to_keep=len(tail) + 1).logits[:, -len(tail) - 1 : -1]
            chosen = torch.tensor(tail, device=self.device).view(1, -1, 1).expand(len(texts), -1, 1)
            logs = torch.log_softmax(logits.float(), dim=-1).gather(2, chosen)
            sums.append(logs.sum(dim=(1, 2)))
        return [float(x) for x in (sums[0] - sums[1]).cpu()]


def _load(model: str, gguf: str, four_bit: bool, device: Any) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if model.endswith(".gguf"):
        path = Path(model)
        model, gguf = str(path.parent), path.name
    options: dict[str, Any] = {"gguf_file": gguf} if gguf else {}
    loading = dict(options)
    if device.type == "cuda":
        loading["device_map"] = {"": device}
        loading["dtype"] = torch.bfloat16
        if four_bit and not gguf:
            from transformers import BitsAndBytesConfig

            loading["quantization_config"] = BitsAndBytesConfig(
                load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
            )
    try:
        return AutoTokenizer.from_pretrained(model, **options), AutoModelForCausalLM.from_pretrained(model, **loading)
    except ImportError as error:
        raise ConfigError(f"{model} cannot be loaded here: {str(error).strip().splitlines()[0]}") from error
    except (OSError, ValueError) as error:
        raise BadInputError(f"{model} is no language model that can be loaded: {str(error).splitlines()[0]}") from error
