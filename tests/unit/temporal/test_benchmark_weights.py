"""The weightings that benchmarks compare: what the product does not keep must still come."""

from __future__ import annotations

import datetime as dt
import gzip
import json
import math
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from benchmarks.temporal_weights import News, idfs


def test_the_static_idf_counts_every_day_alike(tmp_path: Path) -> None:
    words = ["[UNK]", "금리", "동결", "인상"]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()  # type: ignore[assignment]
    rows = [("2026-02-01", "금리 동결"), ("2026-02-02", "금리 인상"), ("2026-02-03", "인상 금리 금리")]
    file = tmp_path / "news.jsonl.gz"
    with gzip.open(file, "wt", encoding="utf-8") as handle:
        for number, (day, text) in enumerate(rows):
            held = {"id": str(number), "title": f"{text} 소식", "text": f"{text} 한국은행이 밝혔다", "date": day,
                    "source": "신문", "url": f"https://example.com/{number}"}  # fmt: skip
            handle.write(json.dumps(held, ensure_ascii=False) + "\n")
    last = dt.date(2026, 2, 3)
    news = News(str(file), tokenizer, dt.date(2026, 1, 1), last, boosts=False)
    found = idfs(news, last, len(words))
    # ln(1 + (N - df + 0.5) / (df + 0.5)) over the three stories (docs: pipeline.temporal.idf)
    expected = [math.log(1 + (3 - df + 0.5) / (df + 0.5)) for df in (3, 1, 2)]
    assert found["static"][1:] == pytest.approx(expected)
    assert found["decay 0.9"][1:] != pytest.approx(expected)
