"""``train.py``: articles in a file, a model in a folder, and one sentence for what cannot be used."""

import json
import random
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.encoder import Encoder
from tests.tiny import WORDS
from train import main

CONFIG = {
    "dataset": {"min_passage_chars": 20, "passage_chars": 200},
    "training": {"batch_passages": 8, "min_active": 0, "max_active_share": 1.0, "validation_queries": 0},
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    draw = random.Random(3)
    words = [w for w in WORDS.split() if not w.startswith("##") and len(w) > 1]
    rows = [
        {
            "url": f"https://news.example/{n}",
            "title": " ".join(draw.sample(words, 5)),
            "text": ". ".join(" ".join(draw.choices(words, k=7)) for _ in range(5)) + ".",
            "published_at": f"2026-01-{n % 28 + 1:02}T09:00:00+09:00",
            "category": "",
            "outlet": "",
        }
        for n in range(40)
    ]
    path = tmp_path / "articles.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows + rows[:3]), "utf-8")
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    return path


def test_a_file_becomes_a_model(corpus, start, tmp_path, capsys):
    command = ["--config", str(tmp_path / "config.yaml"), "--corpus", str(corpus), "--base", str(start)]
    command += ["--output", str(tmp_path / "m"), "--steps", "3", "--seed", "5"]
    assert main(command) == 0
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert card["config"] == Config.model_validate(CONFIG).training.model_dump() | {"steps": 3, "seed": 5}
    assert json.loads((tmp_path / "m" / "data.json").read_text())["articles"] == 40
    assert Encoder.load(tmp_path / "m").encode_documents(["금리"]).shape[0] == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert main(command) == 2
    assert "holds a trained model already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [("{", "is no article"), ('{"title": "x"}', "is no article"), ("", "different articles")],
)
def test_a_bad_corpus_is_one_sentence(tmp_path, capsys, line, said):
    (tmp_path / "c.jsonl").write_text(line + "\n")
    code = main(["--corpus", str(tmp_path / "c.jsonl"), "--output", str(tmp_path / "m")])
    error = capsys.readouterr().err
    assert code in (1, 2)
    assert said in error
    assert error.count("\n") == 1
    assert main(["--corpus", str(tmp_path / "none"), "--output", str(tmp_path / "m")]) == 2
