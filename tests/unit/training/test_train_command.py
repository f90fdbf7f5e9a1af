"""``train.py``: articles in a file, a model in a folder, and one sentence for what cannot be used."""

import json
import random
import unicodedata
from pathlib import Path

import pytest

from pipeline.artifacts.training_set import TrainingSet
from pipeline.config import Config
from pipeline.encoder import Encoder
from tests.tiny import WORDS, tiny_encoder
from train import _articles, main

CONFIG = {
    "dataset": {"min_passage_chars": 20, "passage_chars": 200},
    "training": {
        "fine_tuning": {"batch_passages": 8, "min_active_terms": 0, "max_active_share": 1.0, "freeze_layers": 1}
    },
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


def test_a_file_becomes_a_model(corpus, tmp_path, capsys):
    tiny_encoder(tmp_path / "base", gain=0.0)
    command = ["--config", str(tmp_path / "config.yaml"), "--corpus", str(corpus), "--base", str(tmp_path / "base")]
    command += ["--output", str(tmp_path / "m"), "--seed", "5"]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "floor: nDCG@10 titles" in told
    card = json.loads((tmp_path / "m" / "card.json").read_text())
    assert card["config"] == Config.model_validate(CONFIG).training.model_dump() | {"seed": 5}
    assert card["validation_texts"] == 40
    assert (tmp_path / "m" / "ladder.svg").read_text().startswith("<svg")
    assert Encoder.load(tmp_path / "m").encode_documents(["금리"]).shape[0] == 1
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert main(command) == 2
    assert "holds a trained model already" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 0


def test_what_a_kill_left_goes_on_only_with_the_same_articles_and_settings(corpus, tmp_path, capsys, monkeypatch):
    tiny_encoder(tmp_path / "base", gain=0.0)
    command = ["--config", str(tmp_path / "config.yaml"), "--corpus", str(corpus), "--base", str(tmp_path / "base")]
    command += ["--output", str(tmp_path / "m")]
    with monkeypatch.context() as killed:
        killed.setattr("pipeline.training.files.learn", lambda *_, **__: pytest.exit("killed"))
        with pytest.raises(pytest.exit.Exception):
            main(command)
    sums = sorted((tmp_path / ".m.work" / "sums").iterdir())
    before = [day.stat().st_ino for day in sums]
    assert main([*command, "--resume", "--seed", "99"]) == 2
    assert "other articles or settings" in capsys.readouterr().err
    with monkeypatch.context() as watched:
        watched.setattr("pipeline.training.learning.sums_of", lambda *_: pytest.fail("the sums are there"))
        assert [day.stat().st_ino for day in sums] == before
        assert main([*command, "--resume"]) == 0


def test_the_dense_encoder_is_fine_tuned_first_where_asked(corpus, tmp_path):
    base = tiny_encoder(tmp_path / "base", gain=0.0)
    command = ["--config", str(tmp_path / "config.yaml"), "--corpus", str(corpus), "--base", str(tmp_path / "base")]
    assert main([*command, "--output", str(tmp_path / "m"), "--steps", "2"]) == 0
    tuned = Encoder.load(tmp_path / "m")
    assert tuned.vocabulary_hash == base.vocabulary_hash
    assert tuned.dense.width == base.dense.width


def test_a_retelling_is_no_negative_of_its_story(corpus, tmp_path, monkeypatch):
    """Another outlet's version of an article, a day later, answers the same queries."""
    tiny_encoder(tmp_path / "base", gain=0.0)
    rows = [json.loads(line) for line in corpus.read_text("utf-8").splitlines()]
    retold = rows[0] | {
        "title": "다른 제목입니다",
        "text": rows[0]["text"] + " 전했다.",
        "published_at": "2026-01-02T09:00:00+09:00",
    }
    corpus.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [*rows, retold]), "utf-8")
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG | {"dataset": CONFIG["dataset"] | {"near_duplicate": 1.0}}))
    made = []
    write = TrainingSet.write
    monkeypatch.setattr(TrainingSet, "write", lambda self, folder: (made.append(self), write(self, folder))[1])
    command = ["--config", str(tmp_path / "config.yaml"), "--corpus", str(corpus), "--base", str(tmp_path / "base")]
    assert main([*command, "--output", str(tmp_path / "m"), "--steps", "1"]) == 0
    first, last = "1-", f"{len(rows) + 1}-"
    story = {p.id: p.story_id for p in made[0].passages if p.id.startswith((first, last))}
    assert len(story) == 2
    assert len(set(story.values())) == 1
    for example in made[0].examples:
        if example.positive in story:
            assert not set(story) & {*example.hard, *example.random}


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


def test_articles_in_another_form_are_the_same_articles(corpus, tmp_path):
    rows = _articles(corpus, Config())
    other = tmp_path / "other.jsonl"
    text = unicodedata.normalize("NFD", corpus.read_text("utf-8").replace("코로나", "코\u200b로나"))
    other.write_text("\ufeff" + text, "utf-8")
    assert [(a.title, a.text, a.day) for a in _articles(other, Config())] == [(a.title, a.text, a.day) for a in rows]


@pytest.mark.parametrize("value", [None, 5, ["본문"]])
def test_an_article_without_text_is_named_with_its_line(corpus, tmp_path, value, capsys):
    row = json.loads(corpus.read_text("utf-8").splitlines()[0]) | {"text": value}
    corpus.write_text("\n" + json.dumps(row), "utf-8")
    assert main(["--corpus", str(corpus), "--output", str(tmp_path / "m")]) != 0
    assert f"{corpus}:2 is no article" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["full", "full/", "file", "link", ".", "file/inside", "other/m"])
def test_an_output_never_replaces_what_is_there(corpus, tmp_path, monkeypatch, capsys, where):
    """A folder with files, a file, a link to a folder, the current one, below a file, a work folder of others."""
    kept = {"full/thesis.txt": "years", "file": "years", "other/.m.work/thesis.txt": "years"}
    for name, text in kept.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "link").symlink_to(tmp_path / "full")
    monkeypatch.chdir(tmp_path)
    assert main(["--corpus", str(corpus), "--output", where, "--steps", "0"]) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith("train.py: ")
    assert len(told.splitlines()) == 1
    assert {name: (tmp_path / name).read_text() for name in kept} == kept


def test_an_empty_folder_and_no_steps_are_fine_and_fewer_are_not(corpus, tmp_path, capsys):
    tiny_encoder(tmp_path / "base", gain=0.0)
    (tmp_path / "m").mkdir()
    command = ["--config", str(tmp_path / "config.yaml"), "--corpus", str(corpus), "--base", str(tmp_path / "base")]
    command += ["--output", str(tmp_path / "m"), "--steps"]
    assert main([*command, "-1"]) == 2
    assert "--steps -1" in capsys.readouterr().err
    assert main([*command, "0"]) == 0
    assert (tmp_path / "m" / "card.json").is_file()
