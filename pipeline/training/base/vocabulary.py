"""A Korean WordPiece vocabulary, learned from texts, the same for the same texts.

Two choices differ from the usual recipe; ``docs/experiments.md`` has their numbers.

* Words are cut at particles, endings and noun boundaries (Kiwi, once per distinct word) before anything is counted,
  so that no token holds a noun together with its particle: ``대통령은`` and ``대통령이`` share the token ``대통령``.
* There is no continuation mark. ``회의`` inside ``정상회의`` is the same term as ``회의`` alone, and a token's name is
  its text, in the index and for ml-commons (whose ``decode([id])`` names the terms).

Pieces of rare morphemes are learned by byte-pair merges (``tokenizers``' BpeTrainer without continuation prefix; its
WordPieceTrainer numbers its ``##`` characters in hash order and so breaks ties differently from run to run).
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from pipeline.encoder.vocabulary import is_hanja, is_sign
from pipeline.errors import BadInputError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNKNOWN = SPECIAL[1]
SPECIAL_NAMES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
SYMBOLS = string.punctuation + "·…“”‘’「」『』《》〈〉"
SIGN_TEXTS = 3
"""Texts that a run of signs has to stand in to become a token."""
SPACE = "▁"
"""A space beside a sign: ``” 금리`` and ``”금리`` are written by different hands."""
DOTS = "‥"
"""Two full stops or more: a token with a full stop cannot be a feature's name."""
_SIGN = r"[^\p{L}\p{M}\p{N}\s]"
_WORD = re.compile(r"[^\W_]+")
_SUFFIX_TAGS = ("XSV", "XSA", "XSN", "VCP", "VCN")


def hangul_alphabet() -> list[str]:
    """The 2,350 syllables of KS X 1001, which leave next to no word of modern Korean unknown."""
    return [chr(code) for code in range(0xAC00, 0xD7A4) if _in_ks_x_1001(chr(code))]


def _in_ks_x_1001(char: str) -> bool:
    try:
        return len(char.encode("euc_kr")) == 2
    except UnicodeEncodeError:
        return False


def normalise(text: str) -> str:
    """NFC and lower case, as the tokenizer normalises."""
    return unicodedata.normalize("NFC", text).lower()


def count_words(texts: Iterable[str]) -> Counter[str]:
    """How often each word occurs: runs of letters and digits, normalised, hanja left out."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(_WORD.findall(normalise(text)))
    return Counter({word: n for word, n in counts.items() if not any(is_hanja(char) for char in word)})


def segments(words: Sequence[str]) -> Iterator[list[str]]:
    """Cut each word before particles, endings, suffixes and the second noun of a compound.

    A cut inside a syllable (``한`` = ``하`` + ``ᆫ``) is not made: the pieces always join to the word.
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
        places = sorted(cuts)
        yield [word[start:end] for start, end in pairwise(places)]


def signs_of(texts: Iterable[str]) -> list[str]:
    """Runs of signs, as `build_tokenizer` sees them, and hanja that stand in ``SIGN_TEXTS`` texts or more; sorted."""
    backend, counts = _backend([UNKNOWN], signs=True), Counter[str]()
    for text in texts:
        words = backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text))
        counts.update({word for word, _ in words if is_sign(word)})
    return sorted(run for run, n in counts.items() if n >= SIGN_TEXTS and run != SPACE and _seen(run))


def _seen(run: str) -> bool:
    return all(unicodedata.category(char)[0] in "LPS" for char in run)


def train_vocabulary(texts: Sequence[str], size: int, min_count: int = 2, *, signs: bool = False) -> list[str]:
    """At most ``size`` tokens: special ones, the alphabet, then merged pieces, most useful first.

    ``min_count`` is how often a word has to occur to be looked at; ``signs`` adds `signs_of` the texts.
    The order of ``texts`` does not matter. Raises BadInputError where the texts hold no words or ``size`` does not fit
    the alphabet.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    counts = count_words(texts)
    words = sorted(word for word, n in counts.items() if n >= min_count)
    if not words:
        raise BadInputError("No word occurs often enough in the texts to learn a vocabulary: give more texts.")
    seen = {char for word in words for char in word}
    runs = signs_of(texts) if signs else []
    alphabet = sorted(
        seen | set(hangul_alphabet()) | set(string.ascii_lowercase + string.digits + SYMBOLS).union(*runs)
    )
    known = [*alphabet, *sorted({*runs} - {*alphabet})]
    if size < len(SPECIAL) + len(known):
        raise BadInputError(f"A vocabulary of {size} tokens does not hold the alphabet of {len(known)} characters.")
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
    return [*SPECIAL, *dict.fromkeys([*known, *merged])][:size]


def build_tokenizer(vocabulary: Sequence[str], max_length: int, *, signs: bool = False) -> Any:
    """A transformers fast tokenizer: NFC, lower case, split at spaces and punctuation, longest match from the left.

    ``max_length`` in tokens, special tokens included. Accents and Hangul stay composed (``strip_accents`` would take
    syllables apart into Jamo). With ``signs`` a run of signs and the spaces at its ends are one word (``”▁``, ``…[``):
    a writer's habits are in the runs and spaces more than in the signs.
    """
    from tokenizers import decoders, processors
    from transformers import PreTrainedTokenizerFast

    backend = _backend(vocabulary, signs)
    table = backend.get_vocab()
    backend.decoder = decoders.WordPiece(prefix="", cleanup=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", table["[CLS]"]), ("[SEP]", table["[SEP]"])],
    )  # fmt: skip
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=max_length, **SPECIAL_NAMES)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    return tokenizer


def _backend(vocabulary: Sequence[str], signs: bool) -> Any:
    """The tokenizer of the package tokenizers, without what it adds around a text."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    table = {token: index for index, token in enumerate(vocabulary)}
    backend = Tokenizer(models.WordPiece(table, unk_token=UNKNOWN, continuing_subword_prefix=""))
    bert = partial(normalizers.BertNormalizer, strip_accents=False)
    if signs:
        beside = rf"(?<={_SIGN})\s+(?=\S)|(?<=\S)\s+(?={_SIGN})"
        spelled = [
            bert(clean_text=True, handle_chinese_chars=False, lowercase=True),
            normalizers.Replace(Regex(r"\.{2,}"), DOTS),
            normalizers.Replace(Regex(beside), SPACE),
            bert(clean_text=False, handle_chinese_chars=True, lowercase=False),
        ]
        runs = pre_tokenizers.Split(Regex(_SIGN + "+"), "isolated")
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), runs])
    else:
        spelled = [bert(clean_text=True, handle_chinese_chars=True, lowercase=True)]
        backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), *spelled])
    return backend
