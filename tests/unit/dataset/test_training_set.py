"""Training sets: what is asked of what, what is refused, and that the same articles give the same set."""

import datetime as dt
import json
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import settings as examined
from hypothesis import strategies as st

from pipeline.config import Config
from pipeline.dataset import Guard, SynonymGroup, make_training_set
from pipeline.dataset.passages import is_verbatim, normalised, passages, sentences
from pipeline.dataset.rewrites import Rewriter
from pipeline.dataset.sampling import replayed, weight_of
from pipeline.errors import BadInputError

DAY = dt.date(2026, 3, 1)


@dataclass(frozen=True)
class Item:
    id: int
    title: str
    text: str
    day: dt.date
    story_id: int
    outlet: str = ""


def item(
    number: int, *, age: int = 0, story: int | None = None, title: str | None = None, text: str | None = None
) -> Item:
    body = text or " ".join(
        f"{number}번 기업은 {k}분기 매출이 {number * 7 + k}억원이라고 밝혔다고 {number}일보가 {k}면에서 전했다."
        for k in range(1, 7)
    )
    return Item(number, title or f"{number}번 기업의 실적 발표", body, DAY - dt.timedelta(days=age), story or number)


def settings(**changes):
    return Config().dataset.model_copy(update=changes)


def make(articles, **kwargs):
    chosen = kwargs.pop("settings", settings())
    return make_training_set(articles, as_of=DAY, settings=chosen, **kwargs)


def test_titles_and_sentences_ask_and_never_stand_in_their_passage():
    """A passage whose title can be asked is kept whole; one whose title cannot be gives its sentences."""
    useless = {3: "짧다", 7: item(7).text[:30]}  # too short, and part of the text
    made = make([item(n, title=useless.get(n)) for n in range(1, 30)])
    texts = {row.id: row.text for row in made.passages}
    for row in made.passages:
        number = row.article_id
        kinds = [example.kind for example in made.examples if example.positive == row.id]
        assert kinds == (["sentence"] * 2 if number in useless else ["title"])
        assert (row.text == item(number).text) == (number not in useless)
    for example in made.examples:
        assert not is_verbatim(example.query, texts[example.positive])
        assert example.positive not in example.hard + example.random
        assert len(example.hard) + len(example.random) == 8


def test_a_title_that_stands_in_the_text_is_refused_and_counted():
    text = "오늘의 중요한 소식을 전한다. 오늘의, 중요한 소식을 전한다고 했다. " + item(1).text
    made = make([item(1, title="오늘의 중요한 소식을 전한다", text=text), item(2), item(3)])
    assert not [e for e in made.examples if e.kind == "title" and e.positive.startswith("1-")]
    assert made.report["refused"]["query_in_passage"] >= 1


def test_long_articles_give_several_passages():
    long = " ".join(f"이 문장은 {k}번째 문장이며 내용이 조금씩 다르다고 할 수 있다." for k in range(80))
    made = make([item(1, text=long), item(2)])
    assert sum(row.article_id == 1 for row in made.passages) == 3


def test_passages_say_who_published_them():
    outlets = {n: f"{n % 2}호 일보" for n in range(1, 9)}
    made = make([replace(item(n), outlet=name) for n, name in outlets.items()])
    assert {row.article_id: row.outlet for row in made.passages} == outlets


def test_held_out_articles_stories_queries_and_near_duplicates_stay_out():
    guard = Guard(0.4)
    held = item(1)
    guard.hold_out(article_id=held.id, story_id=held.story_id, title=held.title, text=held.text)
    copy = item(2, text="단독: " + held.text)
    same_story = item(3, story=1)
    same_title = item(4, title=" 1번 기업의  실적, 발표! ")
    made = make([held, copy, same_story, same_title, item(5), item(6)], exclude=guard)
    assert {row.article_id for row in made.passages} == {4, 5, 6}
    assert normalised(held.title) not in {normalised(e.query) for e in made.examples}
    refused = made.report["refused"]
    assert (refused["article_held_out"], refused["article_near_duplicate"], refused["article_story"]) == (1, 1, 1)
    assert refused["query_held_out"] >= 1


def test_synonyms_and_aliases_rewrite_up_to_the_ratio():
    groups = [SynonymGroup(("실적", "성적"), 0.9), SynonymGroup(("기업", "회사"), 0.1)]
    articles = [item(n) for n in range(1, 41)]
    none = make(articles, settings=settings(expansion_ratio=0.0), synonym_groups=groups)
    some = make(articles, settings=settings(expansion_ratio=0.5), synonym_groups=groups)
    written = [e for e in some.examples if e.kind == "synonym"]
    assert written
    assert len(written) <= 0.5 * len(none.examples)
    assert all("성적" in e.query for e in written)
    assert not any("회사" in e.query for e in some.examples)  # below the confidence
    assert {e.kind for e in none.examples} == {"title"}


def test_aliases_need_evidence_and_labels_in_parentheses_are_none():
    """Players with clubs and presidents with parties are written alike, and are not the same thing."""
    texts = [
        "한국은행(한은)은 16일 회의를 열었다. 손흥민(토트넘)이 골을 넣었다고 구단이 밝혔다.",
        "한국은행(한은) 총재가 말했다. 이재명(민주당) 대통령은 자리를 함께했다고 전했다.",
        "시장은 한국은행(한은)을 보았다. 손흥민(토트넘)과 이재명(민주당) 소식도 이어졌다.",
        "딱 한 번 나온 금융통화위원회(금통위)는 다음 달에 다시 열릴 것으로 전해졌다.",
    ]
    titles = ["한국은행 금리 결정 소식", "손흥민 골 소식 전하다", "이재명 대통령 회견 소식", "금융통화위원회 다음 회의"]
    articles = [item(n, title=titles[n - 1], text=f"{texts[n - 1]} " + item(n).text) for n in range(1, 5)]
    made = make(articles, settings=settings(expansion_ratio=1.0))
    assert {e.query for e in made.examples if e.kind == "alias"} == {"한은 금리 결정 소식"}


def test_synonyms_replace_whole_words_only():
    rewriter = Rewriter([SynonymGroup(("AI", "인공지능"), 1.0)], 0.5)
    assert rewriter.rewrite("KAIST의 새 소식") == []
    assert rewriter.rewrite("AIDS의 새 소식") == []
    assert rewriter.rewrite("인공지능(AI) 소식") == []
    assert rewriter.rewrite("AI가 온다") == [("synonym", "인공지능가 온다")]


def test_the_same_articles_give_the_same_set(tmp_path):
    articles = [item(n, age=n) for n in range(1, 30)]
    for name in ("a", "b"):
        make(articles).write(tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert json.loads((tmp_path / "a" / "recipe.json").read_text())["as_of"] == "2026-03-01"


def test_older_windows_are_replayed_and_the_newest_weigh_most():
    articles = [item(n, age=n % 400) for n in range(1, 2001)]
    chosen = replayed(articles, newest=DAY, recent_days=30, most=400, replay_share=0.5, half_life=180, seed=1)
    ages = [(DAY - a.day).days for a in chosen]
    assert len(chosen) == 400
    recent = sum(age < 30 for age in ages)
    assert 140 <= recent <= 200
    months = {a.day.strftime("%Y-%m") for a in chosen}
    assert len(months) == len({a.day.strftime("%Y-%m") for a in articles})  # no month is forgotten
    assert weight_of(0, 180, 0.25) == 1
    assert weight_of(180, 180, 0.25) == 0.5
    assert weight_of(9999, 180, 0.25) == 0.25


@examined(deadline=None, max_examples=40)
@given(st.integers(1, 60), st.integers(1, 300), st.floats(0, 1))
def test_replay_never_gives_more_than_asked_and_keeps_the_order(most, count, share):
    articles = [item(n, age=(n * 7) % 500) for n in range(1, count + 1)]
    chosen = replayed(articles, newest=DAY, recent_days=30, most=most, replay_share=share, half_life=90, seed=3)
    assert len(chosen) == min(most, count)
    ids = [a.id for a in chosen]
    assert ids == [a.id for a in articles if a.id in set(ids)]


@examined(deadline=None, max_examples=60)
@given(st.text(max_size=400), st.integers(10, 80), st.integers(1, 4))
def test_passages_hold_their_bounds(text, size, most):
    found = passages(text, size, most, 5)
    assert len(found) <= most
    assert all(len(" ".join(part)) <= size + len(part) for part in found)
    assert all(part.strip() == part for part in sentences(text))


def test_nothing_to_learn_from_is_said():
    with pytest.raises(BadInputError, match="no training pair"):
        make([item(1, text="짧다")])
