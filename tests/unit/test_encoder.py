"""The encoder on a tiny BERT: formulas, blocked dimensions, order, equality with the libraries that load its folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.encoder import (
    Encoder,
    SparseDocumentEncoder,
    blocked_tokens,
    feature_name,
    screen,
    vocabulary_hash,
)
from pipeline.encoder.lexical import LexicalFloor
from pipeline.encoder.module import MaxLogits, counted
from pipeline.encoder.vocabulary import Vocabulary
from pipeline.errors import BadInputError, CorruptArtifactError

torch = pytest.importorskip("torch")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [
    "대통령",
    "##은",
    "경제",
    "성장",
    "##률",
    "ai",
    "3",
    "##.",
    ".",
    "%",
    "大",
    "회의",
    "3.5",
    "##가",
    "a",
    "##b",
    "㎞",
]
TEXTS = ["대통령은 경제 성장률", "", "회의 AI 3. % 大", "경제 " * 90, "대통령 회의가 회의"]


def tiny(seed: int = 0, vocabulary: list[str] | None = None) -> tuple[Any, Any]:
    """A BERT of 2 layers and 16 dimensions with a WordPiece tokenizer over ``vocabulary``."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    tokens = SPECIAL + (vocabulary or WORDS)
    backend = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece(cleanup=False)
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad", "unk", "cls", "sep", "mask"), SPECIAL, strict=True))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=64, **{f"{key}_token": value for key, value in names.items()}
    )
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, pad_token_id=0, initializer_range=0.5,
    )  # fmt: skip
    return BertForMaskedLM(config).eval(), tokenizer


@pytest.fixture
def encoder() -> Encoder:
    model, tokenizer = tiny()
    return Encoder(model, tokenizer, device="cpu", precision="float32")


def reference(model: Any, tokenizer: Any, text: str) -> Any:
    """log1p(relu(max over positions of logits)) by the plain transformers model, blocked dimensions not yet zero."""
    with torch.no_grad():
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=64)
        return torch.log1p(torch.relu(model(**batch).logits[0].amax(0))).numpy()


def test_documents_follow_the_formula_in_the_order_given(encoder: Encoder) -> None:
    model, tokenizer = tiny()
    seen: list[tuple[int, int]] = []
    vectors = encoder.encode_documents(TEXTS, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert vectors.shape == (5, len(encoder.vocabulary))
    assert vectors.dtype == np.float32
    for row, text in enumerate(TEXTS):
        expected = np.where(encoder.blocked, 0, reference(model, tokenizer, text))
        np.testing.assert_allclose(vectors[row].toarray()[0], expected, atol=1e-5)
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_max_added_keeps_the_largest(encoder: Encoder) -> None:
    full, cut = encoder.encode_documents(TEXTS).toarray(), encoder.encode_documents(TEXTS, max_added=3).toarray()
    assert ((cut > 0).sum(1) <= 3).all()
    for all_weights, kept in zip(full, cut, strict=True):
        np.testing.assert_allclose(np.sort(all_weights)[-3:], np.sort(kept)[-3:], atol=1e-6)


def test_queries_weigh_each_token_once_and_blocked_ones_not_at_all(encoder: Encoder) -> None:
    ids = encoder.token_ids("회의 회의 AI . 3.5 大 경제")
    assert [encoder.vocabulary[i] for i in ids] == ["경제", "ai", "3", "회의"]
    weights = np.linspace(0.5, 2, len(encoder.vocabulary), dtype=np.float32)
    row = encoder.encode_queries(["회의 회의 AI . 3.5 大 경제", ""], weights)
    assert row[0].indices.tolist() == ids
    assert row[1].nnz == 0
    np.testing.assert_array_equal(row[0].data, weights[ids])
    assert set(encoder.encode_queries(["회의 AI"]).data) == {1.0}
    assert encoder.encode_queries([]).shape == (0, len(encoder.vocabulary))
    assert encoder.encode_documents([]).shape == (0, len(encoder.vocabulary))


def test_blocked_tokens_and_feature_names() -> None:
    blocked = blocked_tokens(SPECIAL + WORDS, SPECIAL)
    names = {token for token, is_blocked in zip(SPECIAL + WORDS, blocked, strict=True) if is_blocked}
    assert names == {*SPECIAL, "##.", ".", "%", "大", "3.5", "㎞"}
    assert feature_name("경제") == "경제"
    assert feature_name("##률") == "##률"
    assert feature_name("a%") == "a%"
    assert feature_name("3.5") == "3%2E5"
    assert feature_name("3%2E5") == "3%252E5"


def test_signs_are_terms_where_the_model_says_so(tmp_path: Path) -> None:
    words = [*WORDS, "…", "“", "\u200b", "\u0301"]
    plain = Encoder(*tiny(vocabulary=words), device="cpu")
    signed = Encoder(*tiny(vocabulary=words), device="cpu", facts={"signs": True}, lexical=LexicalFloor(1.0, 10.0))
    names = np.array(plain.vocabulary)
    assert not plain.signs.any()
    assert set(names[signed.signs]) == {"%", "大", "㎞", "…", "“"}, "nothing with a dot, nothing that cannot be seen"
    assert set(names[plain.blocked & ~signed.blocked]) == set(names[signed.signs])
    assert signed.lexical_floor(["경제… 大 회의"]).getnnz() == 2, "no sign is in the lexical floor"
    assert [names[i] for i in signed.token_ids("경제… 大")] == ["경제", "大", "…"]
    signed.save(tmp_path / "m")
    again = Encoder.load(tmp_path / "m", device="cpu")
    assert (again.signs == signed.signs).all()
    assert (again.blocked == signed.blocked).all()
    told = Vocabulary.read(tmp_path / "m")
    assert (told.signs == signed.signs).all()
    assert (told.blocked == signed.blocked).all()
    assert told.names == signed.vocabulary


def test_gradients_agree_with_plain_autograd() -> None:
    model, tokenizer = tiny()
    plain, _ = tiny()
    batch = tokenizer([text for text in TEXTS if text], padding=True, truncation=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    blocked = torch.from_numpy(blocked_tokens(SPECIAL + WORDS, SPECIAL))
    ours = SparseDocumentEncoder(model, blocked)
    target = torch.randn(ids.shape[0], len(blocked), generator=torch.Generator().manual_seed(1))
    (ours(ids, mask) * target).sum().backward()
    logits = plain(input_ids=ids, attention_mask=mask).logits.masked_fill(mask.unsqueeze(-1) == 0, -1e4).amax(1)
    (torch.log1p(torch.relu(logits)).masked_fill(blocked, 0) * target).sum().backward()
    model = ours.masked_lm()
    for (name, got), (_, expected) in zip(model.named_parameters(), plain.named_parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(got.grad, expected.grad, atol=1e-5, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="8-bit products are used on CPUs with VNNI only")
@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_terms_ruled_out_in_8_bits_do_not_fire(spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outlying states make the steps coarse and the bounds wide: nothing that fires may be lost all the same."""
    torch.manual_seed(3)
    hidden, weight = torch.randn(5, 19, 48), torch.randn(700, 48) * 0.3
    hidden[1, 4, 7] *= spread
    weight[::7] *= spread
    bias = torch.randn(700) - 5
    mask = torch.arange(19) < torch.tensor([[19], [3], [19], [1], [10]])
    exact = torch.relu(MaxLogits.apply(hidden, weight, bias, mask))
    plain = (hidden @ weight.t() + bias).masked_fill(~mask.unsqueeze(-1), 0.0).amax(1)
    assert torch.allclose(exact, torch.relu(plain), atol=1e-4)
    monkeypatch.setattr(screen, "TERMS_AT_ONCE", 300)
    found = screen.max_logits(counted(hidden, mask), weight, bias, screen.Rounded.of(weight))
    assert torch.allclose(torch.relu(found), exact, atol=1e-4)
    assert torch.equal(found > 0, exact > 0)
    share = (found > -1).float().mean()
    assert spread > 1 or share < 2 * (exact > 0).float().mean(), "what is ruled out is most of what does not fire"


def test_the_8_bit_rows_follow_the_weights(encoder: Encoder) -> None:
    encoder.module.eval()  # no dropout where gradients are on, too
    before = encoder.encode_documents(TEXTS)
    with torch.no_grad():
        encoder.module.decoder.weight.mul_(-1.0)
    after = encoder.encode_documents(TEXTS)
    tokens = encoder.tokens(TEXTS)
    with torch.enable_grad():
        exact = encoder.module(*encoder.padded(tokens)).detach().numpy()
    assert not np.allclose(before.toarray(), after.toarray())
    assert np.allclose(after.toarray(), exact, atol=1e-5)


def test_the_folder_loads_alike_everywhere(encoder: Encoder, tmp_path: Path) -> None:
    from sentence_transformers import SparseEncoder
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    encoder.set_query_weights(np.linspace(0.5, 2, len(encoder.vocabulary), dtype=np.float32))
    encoder.save(tmp_path / "model")
    encoder.save(tmp_path / "model")  # over an older one
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    documents, queries = encoder.encode_documents(TEXTS).toarray(), encoder.encode_queries(TEXTS).toarray()
    again = Encoder.load(tmp_path / "model", device="cpu", precision="float32")
    assert again.vocabulary_hash == encoder.vocabulary_hash
    assert again.max_length == encoder.max_length == 64
    np.testing.assert_allclose(again.encode_documents(TEXTS).toarray(), documents, atol=1e-6)
    np.testing.assert_array_equal(again.encode_queries(TEXTS).toarray(), queries)

    library = SparseEncoder(str(tmp_path / "model"), device="cpu", local_files_only=True)
    for ours, theirs in ((documents, library.encode_document(TEXTS)), (queries, library.encode_query(TEXTS))):
        np.testing.assert_allclose(theirs.to_dense().numpy(), ours, atol=1e-4)

    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "model").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    for row, text in enumerate(TEXTS):
        np.testing.assert_allclose(reference(model, tokenizer, text), documents[row], atol=1e-4)

    idf = json.loads((tmp_path / "model" / "idf.json").read_text("utf-8"))
    assert list(idf) == encoder.vocabulary
    assert idf["경제"] == pytest.approx(encoder.query_weights[7])
    assert not list((tmp_path / "model").rglob("*.bin"))


def test_names_of_features_survive_decoding(encoder: Encoder) -> None:
    """ml-commons calls a term ``decode([id])``: it has to be the vocabulary's string."""
    for index, token in enumerate(encoder.vocabulary):
        if not encoder.blocked[index]:
            assert encoder.tokenizer.decode([index]) == token == feature_name(token)


def test_the_hash_ignores_formatting_and_truncation(encoder: Encoder) -> None:
    text = encoder.tokenizer.backend_tokenizer.to_str()
    spec = json.loads(text)
    spec["truncation"] = {"max_length": 8}
    assert vocabulary_hash(json.dumps(spec, indent=1)) == vocabulary_hash(text) == encoder.vocabulary_hash
    spec["normalizer"] = None
    assert vocabulary_hash(json.dumps(spec)) != vocabulary_hash(text)


def test_bad_folders_are_refused_in_one_sentence(encoder: Encoder, tmp_path: Path) -> None:
    good = tmp_path / "good"
    encoder.save(good)

    def broken(name: str) -> Path:
        return Path(shutil.copytree(good, tmp_path / name))

    with pytest.raises(BadInputError, match="is no folder"):
        Encoder.load(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInputError, match="holds no model"):
        Encoder.load(tmp_path / "empty")
    cut = broken("cut")
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[:-100])
    with pytest.raises(CorruptArtifactError, match=r"model\.safetensors differs"):
        Encoder.load(cut)
    half = broken("half")
    (half / "garam.json").unlink()
    with pytest.raises(CorruptArtifactError, match="half-written"):
        Encoder.load(half)
    missing = broken("missing")
    (missing / "tokenizer.json").unlink()
    with pytest.raises(CorruptArtifactError, match=r"tokenizer\.json is missing"):
        Encoder.load(missing)
    model, _ = tiny()
    _, foreign = tiny(vocabulary=[f"단어{i}" for i in range(90)])
    with pytest.raises(BadInputError, match="do not belong together"):
        Encoder(model, foreign, device="cpu")
    with pytest.raises(BadInputError, match="finite numbers"):
        encoder.set_query_weights(np.full(len(encoder.vocabulary), -1, np.float32))


def test_a_headless_model_is_refused(tmp_path: Path) -> None:
    model, tokenizer = tiny()
    model.bert.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(BadInputError, match="no trained masked-LM head"):
        Encoder.load(tmp_path)


def test_a_failed_save_leaves_the_old_folder(encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder.save(tmp_path / "model")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.encoder.folder.write_manifest", full)
        with pytest.raises(BadInputError, match="No space left"):
            encoder.save(tmp_path / "model")
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    Encoder.load(tmp_path / "model", device="cpu")


@pytest.mark.parametrize("family", ["Roberta", "DistilBert", "ModernBert"])
def test_other_architectures(family: str, tmp_path: Path) -> None:
    """Heads of other families are taken apart and put back alike."""
    import transformers

    _, tokenizer = tiny()
    size = len(SPECIAL + WORDS)
    common = {"vocab_size": size, "pad_token_id": 0}
    bert = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    extra = {
        "Roberta": {**bert, "max_position_embeddings": 66},
        "DistilBert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 64},
        "ModernBert": {**bert, "max_position_embeddings": 64, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2,
                       "eos_token_id": 3},
    }[family]  # fmt: skip
    config = getattr(transformers, f"{family}Config")(**common, **extra)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForMaskedLM")(config).eval()
    expected = reference(model, tokenizer, TEXTS[0])
    encoder = Encoder(model, tokenizer, device="cpu", precision="float32")
    got = encoder.encode_documents([TEXTS[0]]).toarray()[0]
    np.testing.assert_allclose(got, np.where(encoder.blocked, 0, expected), atol=1e-5)
    encoder.save(tmp_path / "m")
    loaded = Encoder.load(tmp_path / "m", device="cpu", precision="float32").encode_documents([TEXTS[0]]).toarray()[0]
    np.testing.assert_allclose(loaded, got, atol=1e-5)
