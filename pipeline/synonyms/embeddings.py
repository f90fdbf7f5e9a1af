"""Contextual embeddings of words in each time window.

The embedding of a word is the mean, over at most ``contexts`` sentences of the window, of the last hidden states of
the word's own tokens. The mean of all words of the window is subtracted, and the result is scaled to unit length.
Without centring, or pooled over whole sentences, all words are similar (cosine above .8).
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInputError, CorruptArtifactError, UsageError
from pipeline.progress import Progress, silent
from pipeline.synonyms.windows import Window, WindowSample, occurrences, sample_windows, windows_of

if TYPE_CHECKING:
    import torch

# Set before torch is imported: its threads must not spin beside other work on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class WindowEmbeddings:
    """``vectors[i]`` (centred, unit length) is the embedding of ``words[i]`` in ``window``."""

    window: Window
    words: list[str]
    vectors: Vectors  # (n, d)
    contexts: NDArray[np.int32]  # (n,) sentences each vector is the mean of
    articles: NDArray[np.int32]  # (n,) sampled articles of the window with the word

    @cached_property
    def row(self) -> dict[str, int]:
        """Row of each word."""
        return {word: index for index, word in enumerate(self.words)}

    def similarity(self, a: str, b: str) -> float | None:
        """Cosine of two words; None where one has no embedding in this window."""
        if a not in self.row or b not in self.row:
            return None
        return float(self.vectors[self.row[a]] @ self.vectors[self.row[b]])


@dataclass(frozen=True)
class TemporalEmbeddings:
    """Embeddings of each window, oldest first."""

    windows: list[WindowEmbeddings]

    def write(self, folder: Path) -> None:
        """Write the files of the artifact, ``windows.json`` and ``embeddings.npz`` (float16: half the size)."""
        folder.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, NDArray[Any]] = {}
        meta = []
        for index, snapshot in enumerate(self.windows):
            arrays |= {
                f"vectors{index}": snapshot.vectors.astype(np.float16),
                f"contexts{index}": snapshot.contexts,
                f"articles{index}": snapshot.articles,
            }
            meta.append(
                {"first": str(snapshot.window.first), "last": str(snapshot.window.last), "words": snapshot.words}
            )
        np.savez(folder / "embeddings.npz", **arrays)  # type: ignore[arg-type]
        (folder / "windows.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> TemporalEmbeddings:
        """The embeddings stored in an artifact's folder."""
        try:
            meta = json.loads((folder / "windows.json").read_text(encoding="utf-8"))
            with np.load(folder / "embeddings.npz", allow_pickle=False) as arrays:
                return cls(
                    [
                        WindowEmbeddings(
                            Window(dt.date.fromisoformat(m["first"]), dt.date.fromisoformat(m["last"])),
                            list(m["words"]),
                            unit(arrays[f"vectors{i}"].astype(np.float32)),
                            arrays[f"contexts{i}"],
                            arrays[f"articles{i}"],
                        )
                        for i, m in enumerate(meta)
                    ]
                )
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise CorruptArtifactError(f"{folder} holds no readable embeddings ({error})") from error


def unit(matrix: Vectors) -> Vectors:
    """Rows scaled to length 1; a row of zeros stays zero."""
    norms = np.linalg.norm(matrix, axis=1, keepdims=True)
    scaled: Vectors = np.divide(matrix, norms, out=np.zeros_like(matrix), where=norms > 0)
    return scaled


def extract_temporal_embeddings(
    documents: Sequence[str],
    dates: Sequence[dt.date],
    time_windows: Sequence[int | tuple[dt.date, dt.date] | Window],
    *,
    model: str | Path,
    words: int = 2000,
    min_articles: int = 5,
    contexts: int = 8,
    sentences: int = 3000,
    articles: int = 2400,
    max_tokens: int = 64,
    batch_size: int = 64,
    progress: Progress = silent,
) -> TemporalEmbeddings:
    """Embeddings of the most frequent ``words`` in each window (plan 4.1).

    ``time_windows``: lengths in days back from the newest date, or (first, last) days, see `windows_of`. ``model``:
    a Hugging Face encoder, folder or name. At most ``articles`` are analysed and ``sentences`` encoded, whatever the
    number of documents. Raises UsageError for windows that cannot be meant, BadInputError for an unusable model.
    """
    if not dates:
        raise UsageError("there are no documents to take embeddings from")
    windows = windows_of(max(dates), time_windows)
    samples = sample_windows(documents, dates, windows, articles=articles, progress=progress)
    chosen = choose_words(samples, words, min_articles)
    encoder = WordEncoder(model, max_tokens=max_tokens, batch_size=batch_size)
    return embed(samples, chosen, encoder, contexts=contexts, sentences=sentences, progress=progress)


def choose_words(
    samples: Sequence[WindowSample], most: int, min_articles: int, wanted: Sequence[str] = ()
) -> list[str]:
    """The words to embed, at most ``most``: those of ``wanted`` that occur, then the most frequent."""
    total: Counter[str] = Counter()
    for sample in samples:
        total += sample.frequencies()
    first = [word for word in dict.fromkeys(wanted) if total[word] > 0]
    chosen = set(first)
    ranked = sorted(
        (w for w, n in total.items() if n >= min_articles and w not in chosen), key=lambda w: (-total[w], w)
    )
    return (first + ranked)[:most]


def embed(
    samples: Sequence[WindowSample],
    words: Sequence[str],
    encoder: WordEncoder,
    *,
    contexts: int = 8,
    sentences: int = 3000,
    progress: Progress = silent,
) -> TemporalEmbeddings:
    """Embeddings of ``words`` in each window; at most ``sentences`` are encoded in total."""
    wanted = set(words)
    plans = [choose_sentences(sample, wanted, contexts, sentences // max(1, len(samples))) for sample in samples]
    total = sum(map(len, plans))
    done = 0
    embedded = []
    for sample, plan in zip(samples, plans, strict=True):

        def report(count: int, before: int = done) -> None:
            progress("sentences encoded", before + count, total)

        sums, counts = encoder.pool(sample, plan, words, report)
        done += len(plan)
        frequencies = sample.frequencies()
        rows = np.flatnonzero(counts > 0)
        means = sums[rows] / counts[rows, None] if len(rows) else np.zeros((0, encoder.width), np.float32)
        centred = means - means.mean(axis=0, keepdims=True) if len(rows) > 1 else means
        names = [words[int(row)] for row in rows]
        embedded.append(
            WindowEmbeddings(
                sample.window,
                names,
                unit(centred.astype(np.float32)),
                counts[rows].astype(np.int32),
                np.array([frequencies[name] for name in names], dtype=np.int32),
            )
        )
    return TemporalEmbeddings(embedded)


Plan = dict[int, list[tuple[str, int, int]]]  # sentence -> (word, start, end) to pool there


def choose_sentences(sample: WindowSample, wanted: set[str], contexts: int, most: int) -> Plan:
    """The sentences to encode, at most ``most``, chosen greedily in rounds: each word with too few contexts adds one.

    A sentence is a context of all its words, so few are needed. Rounds give every word its turn before the limit.
    """
    places: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    in_sentence: Plan = defaultdict(list)
    for index, word, start, end in occurrences(sample, wanted):
        places[word].append((index, start, end))
        in_sentence[index].append((word, start, end))
    chosen: set[int] = set()
    covered: Counter[str] = Counter()
    order = sorted(places, key=lambda w: (len(places[w]), w))
    for wanted_now in range(1, contexts + 1):
        for word in order:
            if covered[word] >= wanted_now or len(chosen) >= most:
                continue
            fresh = next((i for i, _, _ in places[word] if i not in chosen), None)
            if fresh is not None:
                chosen.add(fresh)
                covered.update(w for w, _, _ in in_sentence[fresh])
    return {index: in_sentence[index] for index in sorted(chosen)}


class WordEncoder:
    """A Hugging Face encoder that pools the hidden states of the tokens of words."""

    def __init__(self, model: str | Path, *, max_tokens: int = 64, batch_size: int = 64) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        from pipeline.encoder.normaliser import put_in_front

        try:
            tokenizer = AutoTokenizer.from_pretrained(str(model))
            self.model = AutoModel.from_pretrained(str(model), dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise BadInputError(f"{model} is no encoder that can be loaded: {str(error).splitlines()[0]}") from error
        if not tokenizer.is_fast:
            raise BadInputError(f"{model} has no fast tokenizer: words cannot be found among its tokens")
        self.tokenizer = put_in_front(tokenizer)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device).eval()
        self.width = int(self.model.config.hidden_size)
        self.max_tokens = max_tokens
        self.batch_size = batch_size

    def pool(
        self, sample: WindowSample, plan: Plan, words: Sequence[str], report: Any = None
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Sums of the word vectors over their contexts (n, d), and the numbers of contexts (n,)."""
        import torch

        from pipeline.encoder.hardware import autocast

        row = {word: index for index, word in enumerate(words)}
        sums = torch.zeros((len(words), self.width), device=self.device)
        counts = np.zeros(len(words), dtype=np.int64)
        # Sorted by length: a batch is padded to its longest sentence.
        order = sorted(plan, key=lambda i: (len(sample.sentences[i]), i))
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            encoded = self.tokenizer(
                [sample.sentences[i] for i in batch],
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_offsets_mapping=True,
                return_tensors="pt",
            )
            offsets = encoded.pop("offset_mapping").numpy()
            places = [(line, row[w], a, b) for line, i in enumerate(batch) for w, a, b in plan[i]]
            lines, rows, owners = _word_tokens(offsets, places)
            if not len(lines):
                continue
            with torch.inference_mode(), autocast(self.device):
                hidden = self.model(**encoded.to(self.device)).last_hidden_state
            self._add(hidden, lines, rows, owners, places, sums, counts)
            if report is not None:
                report(min(start + self.batch_size, len(order)))
        return sums.cpu().numpy(), counts

    def _add(
        self,
        hidden: torch.Tensor,
        lines: NDArray[np.int64],
        positions: NDArray[np.int64],
        owners: NDArray[np.int64],
        places: list[tuple[int, int, int, int]],
        sums: torch.Tensor,
        counts: NDArray[np.int64],
    ) -> None:
        """Add the mean over the tokens of each occurrence to the sum of its word."""
        import torch

        states = hidden[torch.as_tensor(lines), torch.as_tensor(positions)].float()
        sizes = np.bincount(owners, minlength=len(places))
        means = torch.zeros((len(places), self.width), device=self.device)
        means.index_add_(0, torch.as_tensor(owners, device=self.device), states)
        seen = np.flatnonzero(sizes)
        targets = np.array([places[o][1] for o in seen], dtype=np.int64)
        picked = means[torch.as_tensor(seen)] / torch.as_tensor(sizes[seen], device=self.device)[:, None]
        sums.index_add_(0, torch.as_tensor(targets, device=self.device), picked)
        np.add.at(counts, targets, 1)


def _word_tokens(
    offsets: NDArray[np.int64], places: list[tuple[int, int, int, int]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(line, token, occurrence) of all tokens inside the occurrences (line, word, start, end); no special tokens."""
    starts, ends = offsets[..., 0], offsets[..., 1]
    tokens: list[tuple[int, int, int]] = []
    for number, (line, _, a, b) in enumerate(places):
        inside = np.flatnonzero((starts[line] < b) & (ends[line] > a) & (ends[line] > starts[line]))
        # A word that the length limit truncates is left out.
        if len(inside) and ends[line][inside[-1]] >= b:
            tokens += [(line, int(token), number) for token in inside]
    array = np.array(tokens, dtype=np.int64).reshape(-1, 3)
    return array[:, 0], array[:, 1], array[:, 2]
