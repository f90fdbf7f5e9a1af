"""The normaliser of tokenizers: a symbol separates words, one word has one form, for documents and queries alike."""

from __future__ import annotations

import io
import json
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers

pytest.importorskip("torch")

from pipeline.encoder import Encoder, Encoding, MaskedLMEncoder
from pipeline.encoder.normaliser import normaliser, put_in_front
from pipeline.search import query_models
from pipeline.text.normalise import normalise
from pipeline.text.words import canonical, words
from pipeline.training import vocabulary
from tests.tiny import tiny_dense, tiny_tokenizer
from tests.unit.test_encoder import masked_lm

WORDS = [
    "환율",
    "코스피",
    "코로나19",
    "경제",
    "성장",
    "삼성",
    "예산국장",
    "서울",
    "부산",
    "마스크",
    "100km",
    "ㅋㅋ",
    "ㅠㅠ",
]
TOKENS = [
    *vocabulary.SPECIAL,
    *vocabulary.hangul_alphabet(),
    *"abcdefghijklmnopqrstuvwxyz0123456789",
    *"ㅋㅠㅎ",
    *WORDS,
]
BACKEND = vocabulary.build_tokenizer(TOKENS, 64).backend_tokenizer
SYMBOLS = (
    "↑↓→⇒➜▲▼△▶◆●○■□★☆♥♪☎☞✓✔✕※§¶°′″±×÷≒≠≤∞∑√−∼˜¨´¸˙·•‧∙⋅ㆍᆞ・･ꞏᐧ∣│─━┃┼▒€£₩¥￦¢¤©®™℠ⓒⓐ〒〓〜～–—―‐‑￣＋＝｜¦⁄∕⃝"
    "\ue000\uf8ff\U000f0001\ufffc\ufffd\u2800\u3164\uffa0\U0001f637\U0001f1f0\U0001f3fd\U0001fae8\U0001fbff\U0001cc00"
)
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0f\u180e\U000e0061\u202e\U000e0101"


@pytest.fixture(scope="module")
def tokenizer():
    return vocabulary.build_tokenizer(TOKENS, 64)


@pytest.mark.parametrize("symbol", [*SYMBOLS, "👩🏽‍💻", "1️⃣"[1:], "❤️", "🇰🇷"])
def test_a_symbol_separates_words(tokenizer, symbol: str) -> None:
    for text in (f"{symbol}코스피{symbol}환율{symbol}", f"코스피 {symbol}환율"):
        for form in (text, normalise(text)):
            tokens = [token for token in tokenizer.tokenize(form) if token not in ("[UNK]", "c", "a", "t", "m", "s")]
            assert tokens == ["코스피", "환율"]
            assert {"코스피", "환율"} <= set(words(normalise(text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("100㎞", ["100km"]),
        ("１００ｋｍ", ["100km"]),
        ("30℃", ["3", "0", "c"]),
        ("㎡ m²", ["m", "2", "m", "2"]),
        ("㈜삼성", ["주", "삼성"]),
        ("노트Ⅱ", ["노", "트", "i", "i"]),
        ("①코로나19", ["1", "코로나19"]),
        ("𝐀𝟏", ["a", "1"]),
        ("ㅋㅋㅠㅠ", ["ㅋㅋ", "ㅠㅠ"]),
        ("ㅎㅠㅠ", ["ㅎ", "ㅠㅠ"]),
        ("\u110f\u110f", ["ㅋㅋ"]),
        (unicodedata.normalize("NFD", "코로나19 환율"), ["코로나19", "환율"]),
        ("뷁환율뷁", ["환율"]),
        ("환율の経済", ["환율"]),
    ],
)
def test_one_word_has_one_form(tokenizer, text: str, expected: list[str]) -> None:
    for form in (text, normalise(text)):
        assert [token for token in tokenizer.tokenize(form) if token not in ("[UNK]", "(", ")")] == expected


@pytest.mark.parametrize("char", UNSEEN)
def test_what_nobody_sees_is_deleted_inside_a_word(tokenizer, char: str) -> None:
    text = f"코{char}로나{char}19{char}"
    assert tokenizer.tokenize(text) == ["코로나19"]
    assert canonical(text) == normalise(text) == "코로나19"
    assert "코로나19" in words(normalise(text))


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC", "NFKD"])
def test_a_typed_word_is_written_as_the_counts_write_it(form: str) -> None:
    assert canonical(unicodedata.normalize(form, "코로나19")) == "코로나19"
    assert canonical("코로나１９") == "코로나19"


PIECES = [*WORDS, *SYMBOLS, *UNSEEN, *"㎞㈜①ｋ％Ⅱﬁ½ㅋㅏ가각ᄀ大% ", "\u1161", "\u11a8"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map("".join) | st.text(max_size=40))
def test_stored_text_is_read_as_the_text_that_was_sent(text: str) -> None:
    """Documents are stored by `normalise`, queries may come as they are: both give the same terms."""
    if any("\uff65" < char < "\uffe0" or char in "\u3099\u309a" for char in text):
        return  # half-width letters are composed in runs, which only `normalise` does
    assert terms(normalise(text)) == terms(text)


def terms(text: str) -> list[str]:
    return [token for token in BACKEND.encode(text).tokens if token.isalnum()]


def test_a_word_beside_an_arrow_is_found(tmp_path: Path) -> None:
    tokenizer = vocabulary.build_tokenizer(TOKENS, 64)
    encoder = Encoder(tiny_dense(), tokenizer, encoding=Encoding(average_length=8.0), device="cpu")
    documents = encoder.encode_documents(["코스피↑ 환율↓", "서울→부산"])
    for query in ("환율", "환율↓", "▲환율", "환\u200b율", unicodedata.normalize("NFD", "환율")):
        scores = (encoder.encode_queries([query]) @ documents.T).toarray()[0]
        assert scores[0] > 0
        assert scores[1] == 0
    encoder.save(tmp_path / "model")
    served = zipfile.ZipFile(io.BytesIO(query_models.package(tmp_path / "model"))).read("tokenizer.json")
    assert Tokenizer.from_str(served.decode()).encode("코스피↑ 환율↓", add_special_tokens=False).tokens == [
        "코스피",
        "환율",
    ]


def test_models_from_elsewhere_get_the_normaliser_once(tmp_path: Path) -> None:
    hub = tiny_tokenizer()
    hub.backend_tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    assert "[UNK]" in hub.tokenize("코스피↑ 환율↓")
    assert put_in_front(hub).tokenize("코스피↑ 환율↓") == ["코스피", "환율"]
    once = hub.backend_tokenizer.to_str()
    assert put_in_front(hub).backend_tokenizer.to_str() == once
    assert len(json.loads(once)["normalizer"]["normalizers"]) == len(normaliser()) + 2
    masked_lm(tmp_path)
    assert MaskedLMEncoder(tmp_path, device="cpu").encode_queries(["코스피↑ 환율↓"]).nnz == 2
    assert tiny_dense().tokenizer.tokenize("환\u200b율↓") == ["환율"]
