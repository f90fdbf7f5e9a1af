"""Attention for training: what torch's own gives, gradients too, taken where it is the faster one."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config.training import TrainingConfig
from pipeline.encoder import Encoder
from pipeline.training import attention
from pipeline.training.student import Student

torch = pytest.importorskip("torch")

SIZES = (3, 2, 7, 8)  # texts, heads, positions, dimensions


def _given(dtype: Any) -> tuple[list[Any], Any]:
    draw = torch.Generator().manual_seed(2)
    held = [torch.randn(SIZES, generator=draw).to(dtype).requires_grad_() for _ in range(3)]
    mask = (torch.arange(7) < torch.tensor([[7], [2], [5]])).view(3, 1, 1, 7)
    return held, mask


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("at_once", [1, 8 << 20])
def test_values_and_gradients_are_those_of_torch(masked: bool, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "SCORES_BYTES", at_once)
    (ours, mask), (theirs, _) = _given(torch.float64), _given(torch.float64)
    found = attention.attend(*ours, mask if masked else None, 0.4)
    plain = torch.nn.functional.scaled_dot_product_attention(*theirs, attn_mask=mask if masked else None, scale=0.4)
    target = torch.linspace(-1, 1, found.numel(), dtype=torch.float64).view(SIZES)
    (found * target).sum().backward()
    (plain * target).sum().backward()
    torch.testing.assert_close(found, plain)
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got.grad, expected.grad)


@pytest.mark.parametrize(("precision", "calls"), [("bfloat16", 2), ("float32", 0)])
def test_a_student_attends_this_way_in_bfloat16(
    precision: str, calls: int, start: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives what it gave before, to bfloat16's exactness."""
    settings = TrainingConfig(precision=precision)
    columns = torch.arange(40)

    def gradients(student: Student) -> tuple[Any, Any]:
        tokens = student.tokens(["대통령 경제 성장", "회의", "경제 회의 대통령"], 16)
        logits = student.logits(tokens, columns)
        logits.sum().backward()
        parameters = student.trainable().values()
        return logits.detach(), torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

    monkeypatch.setattr(attention, "install", lambda backbone: None)
    plain = gradients(Student(Encoder.load(start, device="cpu"), settings))
    monkeypatch.undo()
    seen = []
    attend = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *given: seen.append(1) or attend(*given))
    ours = gradients(Student(Encoder.load(start, device="cpu"), settings))
    assert len(seen) == calls
    for got, expected in zip(ours, plain, strict=True):
        assert torch.nn.functional.cosine_similarity(got.flatten(), expected.flatten(), dim=0) > 0.999


def test_without_gradients_it_is_torchs(start: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    student = Student(Encoder.load(start, device="cpu"), TrainingConfig(precision="bfloat16"))
    monkeypatch.setattr(attention, "attend", None)
    with torch.no_grad():
        student.logits(student.tokens(["대통령 경제"], 16), torch.arange(40))


def test_what_is_saved_does_not_name_it(start: Path, tmp_path: Path) -> None:
    student = Student(Encoder.load(start, device="cpu"), TrainingConfig())
    student.encoder.save(tmp_path / "model")
    assert attention.NAME not in (tmp_path / "model" / "config.json").read_text("utf-8")


def test_models_with_attention_of_their_own_keep_it(start: Path) -> None:
    backbone: Any = Encoder.load(start, device="cpu").module.backbone
    backbone.set_attn_implementation("eager")
    attention.install(backbone)
    assert backbone.config._attn_implementation == "eager"
