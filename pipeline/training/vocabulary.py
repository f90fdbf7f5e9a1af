"""Training of the Korean WordPiece vocabulary of queries; deterministic.

Two choices differ from standard WordPiece (measured in ``docs/experiments.md``):

* Words are first split at particles, endings and noun boundaries (by Kiwi, once for each distinct word), so that no
  token joins a noun and its particle: ``대통령은`` and ``대통령이`` share the token ``대통령``.
* There is no continuation prefix. ``회의`` inside ``정상회의`` is the same term as ``회의`` alone, and the name of a
  token is its text, in the index and for ml-commons (which names terms by ``decode([id])``).

Subwords of rare morphemes are learned by byte-pair encoding (BpeTrainer of ``tokenizers`` without continuation prefix:
its WordPieceTrainer numbers the ``##`` characters in hash order and so breaks ties differently in each run).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from pipeline.encoder.normaliser import normaliser
from pipeline.encoder.vocabulary import is_hanja
from pipeline.errors import BadInputError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNKNOWN = SPECIAL[1]
SPECIAL_NAMES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
SYMBOLS = string.punctuation + "·…“”‘’「」『』《》〈〉"
_WORD = re.compile(r"[^\W_]+")
_SUFFIX_TAGS = ("XSV", "XSA", "XSN", "VCP", "VCN")


def hangul_alphabet() -> list[str]:
    """The 2,350 syllables of KS X 1001, which cover nearly all words of modern Korean."""
    return [chr(code) for code in range(0xAC00, 0xD7A4) if _in_ks_x_1001(chr(code))]


def _in_ks_x_1001(char: str) -> bool:
    try:
        return len(char.encode("euc_kr")) == 2
    except UnicodeEncodeError:
        return False


def normalise(text: str) -> str:
    """``text`` as the tokenizer normalises it (`pipeline.encoder.normaliser`, then lower case)."""
    return str(_normaliser().normalize_str(text))


@cache
def _normaliser() -> Any:
    from tokenizers import normalizers

    bert = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True, lowercase=True, strip_accents=False)
    return normalizers.Sequence([*normaliser(), bert])


def is_token(word: str) -> bool:
    """Whether a normalised word can be a token: at least two letters or digits, nothing else, no hanja."""
    return len(word) > 1 and _WORD.fullmatch(word) is not None and not any(is_hanja(char) for char in word)


def new_tokens(words: Sequence[str], tokens: Sequence[str], size: int) -> list[str]:
    """The ``words`` that are not yet among ``tokens`` but can be tokens (`is_token`), in their order, until the
    vocabulary has ``size`` tokens."""
    existing, new = set(tokens), list[str]()
    for word in map(normalise, words):
        if len(tokens) + len(new) < size and word not in existing and is_token(word):
            existing.add(word)
            new.append(word)
    return new


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Frequencies of words (runs of letters and digits, normalised), without words that contain hanja."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(normalise(text)))
    return Counter({word: n for word, n in counts.items() if not any(is_hanja(char) for char in word)})


def segments(words: Sequence[str]) -> Iterator[list[str]]:
    """Split each word before particles, endings, suffixes and the second noun of a compound.

    Words are never split inside a syllable (``한`` = ``하`` + ``ᆫ``): the segments always concatenate to the word.
    """
    from kiwipiepy import Kiwi

    for word, morphemes in zip(words, Kiwi().tokenize(list(words)), strict=True):
        cuts, previous = {0, len(word)}, ""
        for morpheme in morphemes:
            tag = str(morpheme.tag)
            compound = tag[0] == "N" and previous[:1] == "N"
            if (tag[0] in "JE" or tag in _SUFFIX_TAGS or compound) and 0 < morpheme.start < len(word):
                cuts.add(morpheme.start)
            previous = tag
        yield [word[start:end] for start, end in pairwise(sorted(cuts))]


def train_vocabulary(texts: Sequence[str], size: int, min_count: int = 2) -> list[str]:
    """A vocabulary of at most ``size`` tokens: special tokens, the alphabet, then subwords in the order of the merges.

    Words that occur fewer than ``min_count`` times are ignored. The order of ``texts`` does not matter. Raises
    BadInputError where the texts contain no words or ``size`` is too small for the alphabet.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    counts = count_words(texts)
    words = sorted(word for word, n in counts.items() if n >= min_count)
    if not words:
        raise BadInputError("No word occurs often enough in the texts to learn a vocabulary: give more texts.")
    seen = {char for word in words for char in word}
    alphabet = sorted(seen | set(hangul_alphabet()) | set(string.ascii_lowercase + string.digits + SYMBOLS))
    if size < len(SPECIAL) + len(alphabet):
        raise BadInputError(f"A vocabulary of {size} tokens does not hold the alphabet of {len(alphabet)} characters.")
    parts: Counter[str] = Counter()
    for word, pieces in zip(words, segments(words), strict=True):
        for piece in pieces:
            parts[piece] += counts[word]
    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = trainers.BpeTrainer(
        vocab_size=size + len(seen), min_frequency=min_count, initial_alphabet=alphabet, show_progress=False
    )
    model.train_from_iterator((" ".join([part] * n) for part, n in sorted(parts.items())), trainer)
    merged = [token for token, _ in sorted(model.get_vocab().items(), key=lambda item: item[1])]
    return [*SPECIAL, *dict.fromkeys([*alphabet, *merged])][:size]


def build_tokenizer(vocabulary: Sequence[str], max_length: int) -> Any:
    """A transformers fast tokenizer: normalised, split at spaces and punctuation, greedy longest match.

    A character that no token contains is cut off, so that it does not make its word unknown.

    ``max_length`` in tokens, special tokens included. Accents are kept: ``strip_accents`` would decompose Hangul
    syllables into Jamo.
    """
    from tokenizers import decoders, processors
    from transformers import PreTrainedTokenizerFast

    backend = _backend(vocabulary)
    table = backend.get_vocab()
    backend.decoder = decoders.WordPiece(prefix="", cleanup=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", table["[CLS]"]), ("[SEP]", table["[SEP]"])],
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=max_length, **SPECIAL_NAMES)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def _backend(vocabulary: Sequence[str]) -> Any:
    """The tokenizer of the package tokenizers, without decoder and post-processor."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    table = {token: index for index, token in enumerate(vocabulary)}
    known = {char for token in vocabulary if token not in SPECIAL for char in token}
    others = Regex(f"[^\\s{''.join(map(_escaped, sorted(known)))}]")
    backend = Tokenizer(models.WordPiece(table, unk_token=UNKNOWN, continuing_subword_prefix=""))
    backend.normalizer = _normaliser()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split(others, "isolated")]
    )
    return backend


def _escaped(char: str) -> str:
    """A character inside a class of a regular expression."""
    return "\\" + char if char in string.punctuation else char
