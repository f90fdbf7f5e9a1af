"""Encoding documents against sentence-transformers: `python benchmarks/encoding.py [--model DIR] [--documents N]`.

The same folder, the same texts, batches and lengths, in one process and in turns; sentence-transformers'
`SparseEncoder` sorts by length as well. Checked at the end: both give the same vectors. bfloat16 is measured where it
is fast. Without `--model` a base is built from the packaged speeches (`benchmarks.material`).
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import datetime as dt
import statistics
import time
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from benchmarks import material
from pipeline.encoder import Encoder
from pipeline.encoder.module import bf16_is_fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="encoder folder of Garam's (default: a base built here)")
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--length", type=int, default=256, help="tokens of a document")
    parser.add_argument("--turns", type=int, default=2)
    options = parser.parse_args()
    from sentence_transformers import SparseEncoder

    articles = material.articles(dt.date(2018, 1, 1), dt.date(2019, 12, 31))
    model = options.model or material.base([article.text for article in articles])
    step = max(1, len(articles) // options.documents)
    texts = [article.text for article in articles[::step]][: options.documents]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    fast = bf16_is_fast(torch.device(device))
    ours, theirs = {}, {}
    for precision in ("float32", "bfloat16") if fast else ("float32",):
        ours[precision] = Encoder.load(model, precision=precision, max_length=options.length)
        kwargs = {"dtype": getattr(torch, precision)}
        theirs[precision] = SparseEncoder(str(model), device=device, model_kwargs=kwargs)
        theirs[precision].max_seq_length = options.length

    def by_ours(precision: str) -> sp.csr_matrix:
        return ours[precision].encode_documents(texts, batch_size=options.batch)

    def by_theirs(precision: str) -> sp.csr_matrix:
        found = theirs[precision].encode_document(texts, batch_size=options.batch, show_progress_bar=False)
        held = found.float().coalesce().cpu()
        return sp.csr_matrix((held.values().numpy(), held.indices().numpy()), shape=tuple(held.shape))

    times: dict[tuple[str, str], list[float]] = {}
    vectors: dict[tuple[str, str], sp.csr_matrix] = {}
    for precision, encoder in ours.items():  # warm
        encoder.encode_documents(texts[:8])
        theirs[precision].encode_document(texts[:8], show_progress_bar=False)
    for _ in range(options.turns):
        for precision in ours:
            for name, work in (("garam", by_ours), ("sentence-transformers", by_theirs)):
                began = time.perf_counter()
                vectors[name, precision] = work(precision)
                times.setdefault((name, precision), []).append(time.perf_counter() - began)
    middle = {key: statistics.median(found) for key, found in times.items()}
    best = min(value for (name, _), value in middle.items() if name != "garam")
    print(f"{len(texts)} documents of at most {options.length} tokens, {torch.get_num_threads()} threads, {device}")
    for (name, precision), value in middle.items():
        peer = middle["sentence-transformers", precision]
        print(
            f"  {name:<22} {precision:<9} {len(texts) / value:7.1f} documents/s   {peer / value:.2f} x its peer   "
            f"{best / value:.2f} x the best of theirs"
        )
    for precision in ours:
        a, b = vectors["garam", precision].toarray(), vectors["sentence-transformers", precision].toarray()
        cosine = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
        print(
            f"  {precision}: largest difference of a weight {np.abs(a - b).max():.2g}, least cosine {cosine.min():.6f}"
        )


if __name__ == "__main__":
    main()
