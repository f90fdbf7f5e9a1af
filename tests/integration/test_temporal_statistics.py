"""Statistics in a real Postgres: the formula over all documents, the same bits for the same as-of whenever learned."""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from pipeline import daily
from pipeline.asof import AsOf
from pipeline.cli import app
from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.store import models
from pipeline.store import statistics as store
from pipeline.store.schema import count_sums, generations
from pipeline.temporal import (
    count_articles,
    counting,
    drift_of_days,
    explain_weights,
    korean,
    learn_statistics,
    make_query_weights,
    no_trends,
    series,
    trends,
)
from pipeline.temporal.idf import RunningSums
from pipeline.text import words
from tests.temporal_data import Given, open_context, put_articles, put_base, remove_article

DAY = dt.date(2026, 2, 2)
VOCABULARY = ["금리", "인하", "반도체", "수출", "확진자", "증가"]
FIRST_ID = 6  # the words follow the special tokens and the dot
SMALL = Config.model_validate(
    {"temporal": {"window_days": [3, 10], "ensemble_weights": [2, 1, 1], "batch_articles": 50}}
)


@pytest.fixture
def context(database: str, tmp_path: Path):
    ctx = open_context(database, tmp_path, SMALL)
    put_base(ctx, VOCABULARY, tmp_path / "base")
    yield ctx
    ctx.store.close()


def changed(ctx, **values) -> None:
    """Change values of the context's section ``temporal``."""
    temporal = ctx.config.temporal.model_copy(update=values)
    object.__setattr__(ctx, "config", ctx.config.model_copy(update={"temporal": temporal}))


def empty(ctx) -> None:
    with ctx.store.begin() as conn:
        for name in ("trends", "statistics", "count_sums", "words", "counted_articles", "count_batches"):
            conn.execute(sa.text(f"DELETE FROM {name}"))
        for name in ("counting_versions", "article_versions", "articles"):
            conn.execute(sa.text(f"DELETE FROM {name}"))


def formula(df: float, n: float) -> float:
    return math.log(1 + (n - df + 0.5) / (df + 0.5))


def by_hand(counted: list[tuple[int, int, frozenset[str], int]], day: int, word: str, weight) -> float:
    """IDF over (batch, day, words, story) rows: a story counts once a day and word."""
    stories = {(d, story) for _, d, _, story in counted if d <= day}
    having = {(d, story) for _, d, had, story in counted if d <= day and word in had}
    return formula(sum(weight(day - d) for d, _ in having), sum(weight(day - d) for d, _ in stories))


article = st.tuples(st.integers(0, 14), st.frozensets(st.sampled_from(VOCABULARY)), st.booleans())
rounds = st.lists(st.tuples(st.lists(article, max_size=6), st.booleans()), min_size=1, max_size=4)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds, st.randoms(use_true_random=False))
def test_any_history_of_arrivals_and_removals_agrees_with_the_formula(context, history, chance):
    """Late articles, articles of a known story, and removals before and after counting, at every as-of there was."""
    empty(context)
    changed(context, batch_articles=2)
    counted: list[tuple[int, int, frozenset[str], int]] = []
    known: list[tuple[dt.datetime, int]] = []
    whole: list[int] = []
    removed: set[int] = set()
    for number, (arrivals, removes) in enumerate(history):
        given_ = [Given(DAY + dt.timedelta(days=d), " ".join(sorted(had))) for d, had, _ in arrivals]
        ids = put_articles(context, given_)
        stories = dict(zip(ids, ids, strict=True))
        for (d, _, joins), id_ in zip(arrivals, ids, strict=True):
            # No article joins a story whose first telling is gone: it has no fingerprint any more.
            before = [story for _, day, _, story in counted if day == d and story not in removed]
            if joins and before:
                stories[id_] = before[0]
                with context.store.begin() as conn:
                    statement = sa.text("UPDATE articles SET story_id = :s WHERE id = :i")
                    conn.execute(statement, {"s": stories[id_], "i": id_})
        gone = ids[0] if removes and ids else None
        if gone is not None:
            remove_article(context, gone)
        count_articles(context)
        for (d, had, _), id_ in zip(arrivals, ids, strict=True):
            if id_ != gone:
                counted.append((number, d, had, stories[id_]))
                whole.append(id_)
        known.append((context.store.settle(), number))
        # Learned while it is news: what comes or goes afterwards must not change a bit of it.
        learn_statistics(context, AsOf(DAY + dt.timedelta(days=14), known[-1][0]))
        if removes and len(ids) > 1:
            remove_article(context, ids[-1])  # counted already: it stays in the counts
            removed.add(ids[-1])
    wanted = [(day, at) for day in (0, 5, 14, 20) for at in known]
    chance.shuffle(wanted)
    hashes = {}
    for day, (known_by, number) in wanted:
        as_of = AsOf(DAY + dt.timedelta(days=day), known_by)
        learned = learn_statistics(context, as_of)
        with context.store.begin() as conn:
            found = store.get(conn, learned)
        hashes[as_of] = found.content_hash
        rows = [row for row in counted if row[0] <= number]
        for index, word in enumerate(VOCABULARY):
            at = FIRST_ID + index
            decayed = by_hand(rows, day, word, lambda age: 0.95**age)
            three = by_hand(rows, day, word, lambda age: float(age < 3))
            ten = by_hand(rows, day, word, lambda age: float(age < 10))
            assert found.arrays["temporal_idf"][at] == pytest.approx(decayed, abs=1e-9)
            assert found.arrays["windowed_idf"][0, at] == pytest.approx(three, abs=1e-9)
            assert found.arrays["windowed_idf"][1, at] == pytest.approx(ten, abs=1e-9)
            assert found.arrays["ensemble_idf"][at] == pytest.approx((2 * decayed + three + ten) / 4, abs=1e-9)
    # Computed anew, in another order, with no kept sums at first: the same bits.
    with context.store.begin() as conn:
        conn.execute(sa.delete(count_sums))
        conn.execute(sa.text("DELETE FROM trends"))
        conn.execute(sa.text("DELETE FROM statistics"))
    chance.shuffle(wanted)
    for day, (known_by, _) in wanted:
        as_of = AsOf(DAY + dt.timedelta(days=day), known_by)
        learned = learn_statistics(context, as_of)
        with context.store.begin() as conn:
            assert store.get(conn, learned).content_hash == hashes[as_of]


def test_the_same_as_of_is_learned_once(context):
    put_articles(context, [Given(DAY, "금리 인하")] * 3)
    count_articles(context)
    as_of = AsOf(DAY, context.store.settle())
    assert learn_statistics(context, as_of) == learn_statistics(context, as_of)


def test_the_future_is_refused_and_no_article_says_so(context):
    put_articles(context, [Given(DAY, "금리 인하")])
    count_articles(context)
    now = context.store.settle()
    with pytest.raises(UsageError, match="future"):
        learn_statistics(context, AsOf(dt.date(2999, 1, 1), now))
    with pytest.raises(UsageError, match="future"):
        learn_statistics(context, AsOf(DAY, now + dt.timedelta(days=1)))
    learned = learn_statistics(context, AsOf(DAY - dt.timedelta(days=400), now))
    with context.store.begin() as conn:
        found = store.get(conn, learned)
    assert found.articles == 0
    assert "no article" in found.summary["note"]
    assert trends(context, DAY - dt.timedelta(days=400)) == []
    with pytest.raises(UsageError, match="garam learn"):
        trends(context, DAY + dt.timedelta(days=1))
    weights = make_query_weights(context, learned)
    with context.store.begin() as conn:
        artifact = store.get_query_weights(conn, weights).artifact
    values = np.load(context.artifacts.get(artifact) / "weights.npy")
    assert set(values[FIRST_ID:]) == {np.float32(1.0)}, "nothing is known: every word weighs the same"


def test_a_word_that_comes_becomes_a_trend_with_evidence_and_a_boost(context, monkeypatch: pytest.MonkeyPatch):
    ordinary = "금리 인하 반도체 수출"
    past = [Given(DAY - dt.timedelta(days=n), ordinary, "평범한 소식", f"매체{n % 3}") for n in range(3, 40)] * 3
    new = [
        Given(DAY - dt.timedelta(days=n % 3), f"{ordinary}. 확진자 증가", f"확진자 증가 {n}", f"매체{n % 3}")
        for n in range(12)
    ]
    put_articles(context, past + new)
    count_articles(context)
    changed(context, trend_stories=10, boosts=True)
    learned = learn_statistics(context, AsOf(DAY, context.store.settle()))
    found = trends(context, DAY)
    top = found[0]
    assert top.word == "확진자 증가", "the phrase stands for its halves"
    assert top.is_new
    assert set(top.evidence["parts"]) == {"확진자", "증가"}
    assert top.evidence["stories"] == 12
    assert top.evidence["past_stories"] == 0
    assert top.evidence["outlets"] == 3
    assert len(top.evidence["examples"]) == 3
    assert all("확진자" in example["title"] for example in top.evidence["examples"])
    assert 1 < top.boost <= context.config.temporal.boost_max
    assert not {"금리", "인하", "반도체", "수출"} & {t.word for t in found}

    first, again = make_query_weights(context, learned), make_query_weights(context, learned)
    assert first == again
    with context.store.begin() as conn:
        row = store.get_query_weights(conn, first)
    folder = context.artifacts.get(row.artifact)
    weights = np.load(folder / "weights.npy")
    explained = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
    assert row.status == "candidate"
    assert weights.dtype == np.float32
    assert weights.shape == (FIRST_ID + len(VOCABULARY),)
    assert set(weights[:FIRST_ID]) == {0.0}, "special tokens and the dot are blocked"
    assert (weights[FIRST_ID:] > 0).all()
    assert weights[FIRST_ID:].mean() == pytest.approx(1, abs=1e-6)
    assert {b["token"] for b in explained["boosted"]} == {"확진자", "증가"}
    with context.store.begin() as conn:
        idf = store.get(conn, learned).arrays["ensemble_idf"]
    for boosted in explained["boosted"]:
        expected = idf[boosted["id"]] * boosted["boost"] / explained["scale"]
        assert weights[boosted["id"]] == pytest.approx(expected, rel=1e-6)

    told = explain_weights(context, DAY, ["확진자 금리", "."])
    assert (told.id, told.statistics, told.day, told.status) == (first, learned, DAY, "candidate")
    assert [(t.word, t.token) for t in told.tokens] == [("확진자 금리", "확진자"), ("확진자 금리", "금리"), (".", ".")]
    lifted, plain, blocked = told.tokens
    for token in told.tokens:
        assert token.weight == weights[token.id]
        assert sum(part.share * part.idf for part in token.parts) == pytest.approx(token.idf, abs=1e-12)
        assert token.token in token.sentence
    assert lifted.weight == pytest.approx(lifted.idf * lifted.boost / told.scale, rel=1e-6)
    assert [part.stories for part in lifted.parts[1:]] == [12, 12]
    assert lifted.because[0]["word"] == "확진자 증가"
    assert "boosted by 확진자 증가" in lifted.sentence
    assert (plain.boost, plain.because) == (1.0, [])
    assert "is blocked" in blocked.sentence

    monkeypatch.setenv("GARAM_DATABASE_URL", context.store.url.render_as_string(hide_password=False))
    monkeypatch.setenv("GARAM_STORAGE__ARTIFACTS", context.config.storage.artifacts)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["weights", *arguments], catch_exceptions=False)
        assert result.exit_code == 0
        return result.output

    printed = json.loads(said("--day", DAY.isoformat(), "금리", "--json"))
    assert [token["token"] for token in printed["tokens"]] == ["금리"]
    assert printed["tokens"][0]["weight"] == plain.weight
    assert dt.datetime.fromisoformat(printed["known_by"]) == told.known_by, "to the last digit"
    assert f"{told.scale:.3f}" in said("--day", DAY.isoformat())
    assert "확진자 weighs" in said("--day", DAY.isoformat(), "확진자").replace("\n", "")
    drawn = CliRunner().invoke(app, ["trends", "--day", DAY.isoformat(), "--plot", "trends.gif"])
    assert isinstance(drawn.exception, UsageError)
    assert "new words of" in drawn.output, "a picture that cannot be drawn takes nothing else away"
    assert "「확진자 증가 " in drawn.output, "with a title"
    for day, reason in ((DAY + dt.timedelta(days=1), "garam learn"), (dt.date(2999, 1, 1), "future")):
        with pytest.raises(UsageError, match=reason):
            explain_weights(context, day, ["금리"])


def test_old_running_sums_are_kept_one_day_in_32_so_that_an_old_day_is_not_learned_from_the_first(
    context, monkeypatch: pytest.MonkeyPatch
):
    put_articles(context, [Given(DAY - dt.timedelta(days=n), "금리 인하") for n in range(110)])
    count_articles(context)
    known = context.store.settle()
    learn_statistics(context, AsOf(DAY, known))
    with context.store.begin() as conn:
        kept = set(conn.scalars(sa.select(count_sums.c.day)))
    marks = {day for day in (DAY - dt.timedelta(days=n) for n in range(9, 110)) if day.toordinal() % 32 == 0}
    assert len(marks) == 3
    assert {DAY, *marks} <= kept
    old, starts, real = max(marks) + dt.timedelta(days=2), [], RunningSums.advance
    monkeypatch.setattr(RunningSums, "advance", lambda *given: (starts.append(given[1]), real(*given)))
    learn_statistics(context, AsOf(old, known))
    assert min(starts) == max(marks) + dt.timedelta(days=1)


def test_what_came_a_year_ago_is_the_calendars_also_where_the_past_is_rich_long_before(context):
    def on(day: int, text: str, n: int) -> list[Given]:
        return [Given(DAY - dt.timedelta(days=day), text, "소식", f"매체{i % 3}") for i in range(n)]

    ordinary = [one for day in range(70) for one in on(day, "금리 인하", 6)]
    put_articles(context, [*ordinary, *on(0, "확진자 증가", 6), *on(362, "확진자 증가", 5), *on(365, "금리 인하", 6)])
    changed(context, trend_stories=5, past_articles=10)
    count_articles(context)
    learned = learn_statistics(context, AsOf(DAY, context.store.settle()))
    top = trends(context, DAY)[0]
    assert top.word == "확진자 증가"
    assert top.evidence["year_ago"] == [5, 11]
    assert "a year ago" in top.evidence["sentence"]
    assert "한 해 전" in korean(top)
    with context.store.begin() as conn:
        assert store.get(conn, learned).summary["past_days"] < 90, "the year before is not what it is compared with"


def test_series_has_every_day_with_articles_and_words_as_people_type_them(context):
    put_articles(
        context, [Given(DAY, "코로나19 확진자"), Given(DAY, "금리"), Given(DAY + dt.timedelta(days=2), "금리")]
    )
    count_articles(context)
    rows = series(context, ["코로나-19", "없는말"], DAY, DAY + dt.timedelta(days=5))
    assert [(r.word, r.day, r.stories, r.of_stories) for r in rows] == [
        ("코로나19", DAY, 1, 2),
        ("코로나19", DAY + dt.timedelta(days=2), 0, 1),
        ("없는말", DAY, 0, 2),
        ("없는말", DAY + dt.timedelta(days=2), 0, 1),
    ]
    with pytest.raises(UsageError):
        series(context, [], DAY, DAY)
    with pytest.raises(UsageError):
        series(context, ["금리"], DAY, DAY - dt.timedelta(days=1))


def numbers(ctx, learned: int) -> str:
    with ctx.store.begin() as conn:
        return store.get(conn, learned).content_hash


def test_killed_and_twice_at_once_the_statistics_are_the_same(context, database: str, tmp_path: Path):
    put_articles(context, [Given(DAY - dt.timedelta(days=n % 60), "금리 인하 반도체") for n in range(180)])
    count_articles(context)
    as_of = AsOf(DAY, context.store.settle())
    code = (
        "import datetime as dt, pathlib, time\n"
        "from pipeline.asof import AsOf; from pipeline.context import Context; from pipeline.temporal import learn\n"
        "def stop(*_, **__): pathlib.Path('reached').touch(); time.sleep(60)\n"
        "learn.statistics.add = stop\n"
        f"learn.learn_statistics(Context.open('small.yaml'), AsOf(dt.date({DAY:%Y, %-m, %-d}), "
        f"dt.datetime.fromisoformat('{as_of.known_by.isoformat()}')))"
    )
    (tmp_path / "small.yaml").write_text(json.dumps(context.config.model_dump(mode="json")), encoding="utf-8")
    environment = os.environ | {
        "GARAM_DATABASE_URL": database,
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }
    process = subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not (tmp_path / "reached").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    assert (tmp_path / "reached").exists()
    process.kill()
    process.wait()
    other = open_context(database, tmp_path, context.config)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda ctx: learn_statistics(ctx, as_of), (context, other))
    assert first == second
    wanted = numbers(context, first)
    with context.store.begin() as conn:
        for name in ("trends", "statistics", "count_sums"):
            conn.execute(sa.text(f"DELETE FROM {name}"))
    assert numbers(other, learn_statistics(other, as_of)) == wanted, "with nothing kept"
    other.store.close()


def test_the_old_numbers_serve_until_a_new_analyser_has_recounted(context, monkeypatch: pytest.MonkeyPatch):
    changed(context, batch_articles=2)
    put_articles(context, [Given(DAY - dt.timedelta(days=n % 4), "금리 인하") for n in range(12)])
    count_articles(context)
    as_of = AsOf(DAY, context.store.settle())
    old = learn_statistics(context, as_of)
    rows = series(context, ["금리"], DAY, DAY)
    real, done = counting._count_groups, []

    def interrupted(*args):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(real(*args))
        return done[-1]

    monkeypatch.setattr(words, "RULES", 999)
    monkeypatch.setattr(counting, "_count_groups", interrupted)
    with pytest.raises(KeyboardInterrupt):
        count_articles(context)
    assert done, "the recount had begun"
    assert learn_statistics(context, as_of) == old
    assert series(context, ["금리"], DAY, DAY) == rows
    monkeypatch.setattr(counting, "_count_groups", real)
    assert count_articles(context).word_articles == 12 - sum(sum(counts) for counts in done)
    new = learn_statistics(context, as_of)
    assert new != old
    assert series(context, ["금리"], DAY, DAY, as_of.known_by) == rows, "counted again with the old times"
    with context.store.begin() as conn:
        assert np.array_equal(store.get(conn, new).arrays["ensemble_idf"], store.get(conn, old).arrays["ensemble_idf"])


def test_the_champions_vocabulary_serves_until_that_of_a_new_base_is_recounted(
    context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changed(context, batch_articles=2)
    put_articles(context, [Given(DAY - dt.timedelta(days=n % 4), "금리 인하") for n in range(6)])
    count_articles(context)
    as_of = AsOf(DAY, context.store.settle())
    old = learn_statistics(context, as_of)
    with context.store.begin() as conn:
        live = {"model_id": models.base(conn).id, "index_name": "n", "content_hash": "h", "status": "live"}
        conn.execute(sa.insert(generations).values(live | {"settings": {}}))
    put_base(context, [*VOCABULARY, "새말"], tmp_path / "second")
    real, done = counting._count_groups, []

    def interrupted(*args):
        if done:
            raise KeyboardInterrupt
        done.append(real(*args))
        return done[-1]

    monkeypatch.setattr(counting, "_count_groups", interrupted)
    with pytest.raises(KeyboardInterrupt):
        count_articles(context)
    assert learn_statistics(context, as_of) == old, "half of a recount is read by nobody"
    monkeypatch.setattr(counting, "_count_groups", real)
    count_articles(context)
    new = learn_statistics(context, as_of)
    with context.store.begin() as conn:
        before, after = store.get(conn, old), store.get(conn, new)
    size = len(before.arrays["ensemble_idf"])
    assert len(after.arrays["ensemble_idf"]) == size + 1
    assert np.array_equal(after.arrays["ensemble_idf"][:size], before.arrays["ensemble_idf"])


def test_an_analyser_that_was_taken_back_is_read_again(context, monkeypatch: pytest.MonkeyPatch):
    put_articles(context, [Given(DAY, "금리 인하")])
    count_articles(context)
    with monkeypatch.context() as patched:
        patched.setattr(words, "RULES", 999)
        count_articles(context)
    put_articles(context, [Given(DAY, "금리 반도체")])
    count_articles(context)
    assert [row.stories for row in series(context, ["금리"], DAY, DAY)] == [2]
    learned = learn_statistics(context, AsOf(DAY, context.store.settle()))
    with context.store.begin() as conn:
        assert store.get(conn, learned).summary["day_articles"] == 2


def test_learn_says_its_time_to_the_last_digit(database: str, monkeypatch: pytest.MonkeyPatch):
    known = dt.datetime(2026, 2, 2, 1, 2, 3, 456789, dt.UTC)
    monkeypatch.setattr(daily, "learn", lambda *_: daily.Learned(DAY, known, 1, 2, True, 3, 4))
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    for more in ([], ["--json"]):
        result = CliRunner().invoke(app, ["learn", "--day", DAY.isoformat(), *more], catch_exceptions=False)
        assert "2026-02-02T10:02:03.456789+09:00" in result.output, "typed in again it has to be the same as-of"


@pytest.mark.parametrize(
    ("given_", "note"),
    [([Given(DAY, "금리")], "nothing to compare"), ([Given(DAY, "금리 인하", "같은 글")] * 40, "nothing to compare")],
)
def test_one_article_and_the_same_text_forty_times_have_no_trend_and_say_why(context, given_, note):
    put_articles(context, given_)
    count_articles(context)
    learned = learn_statistics(context, AsOf(DAY, context.store.settle()))
    make_query_weights(context, learned)
    assert trends(context, DAY) == []
    assert note in no_trends(context, DAY)
    assert drift_of_days(context, DAY, DAY)[0][1]["level"] == "quiet"


def test_a_missing_day_and_a_day_like_any_other_say_so(context):
    ordinary = [
        Given(DAY - dt.timedelta(days=n), "금리 인하 반도체 수출", "소식", f"매체{n % 3}") for n in range(40) if n != 1
    ]
    put_articles(context, ordinary * 3)
    count_articles(context)
    known = context.store.settle()
    for day in (DAY, DAY - dt.timedelta(days=1)):
        learn_statistics(context, AsOf(day, known))
        assert trends(context, day) == []
        assert "times as frequent" in no_trends(context, day)
    with pytest.raises(UsageError, match="future"):
        trends(context, dt.date(2999, 1, 1))
    with pytest.raises(UsageError, match="future"):
        series(context, ["금리"], dt.date(2999, 1, 1), dt.date(2999, 1, 2))
    assert series(context, ["금리"], DAY - dt.timedelta(days=1), DAY - dt.timedelta(days=1)) == []


def test_examples_come_from_openings_where_no_title_has_the_word_and_latin_letters_stand_alone(context):
    past = [Given(DAY - dt.timedelta(days=n), "금리 인하", "평범한 소식", f"매체{n % 3}") for n in range(3, 60)] * 3
    put_articles(
        context,
        past
        + [Given(DAY, f"선급협회 KR 인증 {n}", f"배 소식 {n}", f"매체{n % 3}") for n in range(9)]
        + [Given(DAY, "금리", "KKR 투자", "매체1")],
    )
    count_articles(context)
    changed(context, trend_stories=5)
    learn_statistics(context, AsOf(DAY, context.store.settle()))
    found = {t.word: t for t in trends(context, DAY)}
    told = next(t for word, t in found.items() if "KR" in word)
    titles = [example["title"] for example in told.evidence["examples"]]
    assert len(titles) == 3
    assert all(title.startswith("배 소식") for title in titles)
    assert "최근 하루" in korean(told)
    assert korean(told).startswith(f"{told.word}: ")


def test_commands_say_why_there_is_nothing(context, database: str, monkeypatch: pytest.MonkeyPatch):
    put_articles(context, [Given(DAY, "금리 인하")])
    count_articles(context)
    learn_statistics(context, AsOf(DAY, context.store.settle()))
    monkeypatch.setenv("GARAM_DATABASE_URL", database)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=True)
        if isinstance(result.exception, UsageError):
            return str(result.exception)
        assert result.exit_code == 0, result.output
        return result.output

    day, later = DAY.isoformat(), "2999-01-01"
    assert "nothing to compare with" in said("trends", "--day", day)
    assert "[]" in said("trends", "--day", day, "--json")
    for command in (
        ["trends", "--day", later],
        ["learn", "--day", later],
        ["series", "금리", "--from", later, "--to", later],
    ):
        assert "in the future" in said(*command)
    assert "no article" in said("series", "금리", "--from", "2020-01-01", "--to", "2020-01-02")
    assert "9 of the 10 days" in said("series", "금리", "--from", "2026-02-01", "--to", "2026-02-10")
    assert "없는말 is in no article" in said("series", "없는말", "--from", day, "--to", day)
    assert "quiet" in said("drift", "--from", day, "--to", day)
    assert "has been learned" in said("drift", "--from", "2020-01-01", "--to", "2020-01-02")
