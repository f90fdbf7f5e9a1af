"""Queries that a sequence-to-sequence model (T5, BART) writes for passages: by option, off by default."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import BadInputError


def generate_queries(
    texts: Sequence[str],
    model: str | Path,
    *,
    queries: int = 1,
    prompt: str = "{text}",
    max_length: int = 256,
    query_tokens: int = 32,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[str]]:
    """Up to ``queries`` different queries of each text, best first, by beam search: the same again for the same input.

    ``model`` is a folder or a hub name of a transformers model with an encoder and a decoder; only safetensors are
    read and no code of it is run. ``prompt`` holds ``{text}``; ``max_length`` and ``query_tokens`` are in tokens.
    What is generated may stand in the text or repeat another's query: `make_training_set` refuses that.
    Raises BadInputError where the model cannot be had or used.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    where: dict[str, Any] = {"trust_remote_code": False, "local_files_only": Path(model).is_dir()}
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(model, **where)
        writer: Any = AutoModelForSeq2SeqLM.from_pretrained(model, use_safetensors=True, dtype=torch.float32, **where)
    except Exception as error:  # transformers raises whatever its parts raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise BadInputError(f"the query generator {model} cannot be loaded: {reason}") from error
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    writer = writer.to(device).eval()
    found: list[list[str]] = [[] for _ in texts]
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
    for start in range(0, len(order), batch_size):
        part = order[start : start + batch_size]
        encoded = tokenizer(
            [prompt.replace("{text}", texts[i]) for i in part], truncation=True, max_length=max_length, padding=True,
            return_tensors="pt", return_token_type_ids=False,
        ).to(device)  # fmt: skip
        with torch.inference_mode():
            written = writer.generate(
                **encoded, max_new_tokens=query_tokens, do_sample=False, num_beams=max(2, queries),
                num_return_sequences=queries,
            )  # fmt: skip
        said = [" ".join(line.split()) for line in tokenizer.batch_decode(written, skip_special_tokens=True)]
        for row, index in enumerate(part):
            own = said[row * queries : (row + 1) * queries]
            found[index] = [line for line in dict.fromkeys(own) if line]
        if progress:
            progress(min(start + batch_size, len(order)), len(order))
    return found
