"""Query weights: bounded, explained, normalised; pictures of trends."""

from __future__ import annotations

import datetime as dt
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import plots
from pipeline.config import Config
from pipeline.errors import CorruptArtifactError, UsageError
from pipeline.store.counts import Counts
from pipeline.store.packed import digest, pack, unpack
from pipeline.store.statistics import Trend
from pipeline.temporal import SeriesRow, plot_series, plot_trends
from pipeline.temporal.weights import LARGEST, combine, token_boosts

DAY = dt.date(2026, 2, 2)


def trend(word: str, boost: float, stories: int, rank: int = 1) -> Trend:
    evidence = {"stories": stories, "surprise": 9.0, "calendar": None}
    return Trend(rank, word, 5.0, 0.001, boost, False, evidence)


def arrays(idf: list[float], df: list[int]) -> dict[str, np.ndarray]:
    return {
        "ensemble_idf": np.array(idf),
        "window_df": np.array([df]),
        "decayed_df": np.array(df, float),
        "recent_df": np.array(df),
    }


def test_a_boost_reaches_a_token_in_the_share_that_the_word_has_of_it():
    boosts, causes = token_boosts([(trend("코로나19", 1.5, 20), [0, 1])], np.array([20, 200, 7]))
    assert boosts.tolist() == pytest.approx([1.5, 1.05, 1.0])
    assert causes[1] == [{"word": "코로나19", "boost": 1.5, "share": 0.1}]
    assert 2 not in causes


def test_the_larger_of_two_boosts_counts():
    boosts, causes = token_boosts([(trend("가나", 1.2, 9), [0]), (trend("가다", 1.4, 9, 2), [0])], np.array([9]))
    assert boosts.tolist() == pytest.approx([1.4])
    assert [c["word"] for c in causes[0]] == ["가다", "가나"]


def test_weights_have_mean_one_over_tokens_in_use_and_blocked_are_zero():
    weights, scale = combine(
        arrays([4.0, 2.0, 8.0, 3.0], [3, 5, 0, 9]), np.ones(4), np.array([False, False, False, True])
    )
    assert weights.tolist() == pytest.approx([4 / 3, 2 / 3, 8 / 3, 0.0])
    assert scale == 3.0
    assert weights.dtype == np.float32


@settings(max_examples=50, deadline=None)
@given(
    hnp.arrays(np.float64, 12, elements=st.floats(1e-6, 40)),
    hnp.arrays(np.int64, 12, elements=st.integers(0, 5)),
    hnp.arrays(np.bool_, 12),
)
def test_opensearch_takes_every_weight(idf, df, blocked):
    weights, _ = combine(arrays(idf.tolist(), df.tolist()), np.full(12, 8.0), blocked)
    assert (weights[blocked] == 0).all()
    assert ((weights[~blocked] > 0) & (weights[~blocked] <= LARGEST)).all()


def test_arrays_come_back_from_their_bytes():
    given_ = {"a": np.arange(7, dtype=np.uint32), "b": np.array([[0.1, -2.5]]), "c": np.zeros(0, np.uint64)}
    back, meta = unpack(pack(given_, {"outlets": 2**63}))
    assert meta == {"outlets": 2**63}
    for name, array in given_.items():
        assert back[name].dtype == array.dtype
        assert np.array_equal(back[name], array)
    assert digest(back) == digest(given_)
    assert digest({"a": np.arange(7, dtype=np.uint64)}) != digest({"a": given_["a"]})
    with pytest.raises(CorruptArtifactError):
        unpack(pack(given_)[:-5])


def test_counts_unite_in_any_order():
    one = Counts(np.array([1, 4]), np.array([2, 1]), np.array([1, 1]), np.array([1, 2], np.uint64), 2, 1, 5, 4, 3)
    two = Counts(np.array([2, 4]), np.array([3, 1]), np.array([3, 1]), np.array([4, 2], np.uint64), 3, 3, 6, 5, 6)
    for parts in ([one, two], [two, one], [Counts.empty(), one, two]):
        both = Counts.union(parts)
        assert both.ids.tolist() == [1, 2, 4]
        assert both.articles.tolist() == [2, 3, 2]
        assert both.stories.tolist() == [1, 3, 2]
        assert both.outlets.tolist() == [1, 4, 2]
        assert (both.n_articles, both.n_stories, both.terms, both.spaces, both.all_outlets) == (5, 4, 11, 9, 7)
    assert Counts.union([]).at(np.array([3])).tolist() == [0]


def test_ensemble_weights_must_fit_the_windows():
    with pytest.raises(ValueError, match="ensemble_weights"):
        Config.model_validate({"temporal": {"window_days": [7]}})
    with pytest.raises(ValueError, match="ascending"):
        Config.model_validate({"temporal": {"window_days": [90, 30, 365]}})


def test_pictures_are_drawn_or_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows = [SeriesRow("코로나19", DAY + dt.timedelta(days=n), n, n, 1, 10, n / 10) for n in range(5)]
    monkeypatch.setattr(plots, "korean_font", lambda: None)
    svg = plot_series(rows, tmp_path / "series.svg").read_text(encoding="utf-8")
    assert "코로나19" in svg, "text stays text"
    assert "코로나19" in plot_trends([trend("코로나19", 1.2, 3)], tmp_path / "trends.svg").read_text(encoding="utf-8")
    again = plot_series(rows, tmp_path / "again.svg").read_text(encoding="utf-8")
    assert again == svg
    with pytest.raises(UsageError, match="font"):
        plot_series(rows, tmp_path / "series.png")
    with pytest.raises(UsageError, match="svg"):
        plot_series(rows, tmp_path / "series.gif")
    with pytest.raises(UsageError):
        plot_series([], tmp_path / "series.svg")
    with pytest.raises(UsageError):
        plot_trends([], tmp_path / "trends.svg")
    monkeypatch.setattr(plots, "korean_font", lambda: "DejaVu Sans")
    assert plot_series(rows, tmp_path / "series.png").read_bytes().startswith(b"\x89PNG")


def test_a_packaged_font_will_do_where_the_machine_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from matplotlib import font_manager

    monkeypatch.setattr(plots, "FONTS", ())
    monkeypatch.syspath_prepend(str(tmp_path))
    package = tmp_path / "koreanize_matplotlib"
    (package / "fonts").mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('its import changes settings: it must not be made')")
    assert plots.korean_font() is None
    shutil.copy(font_manager.findfont("DejaVu Sans"), package / "fonts" / "NanumGothic.ttf")
    assert plots.korean_font() == "NanumGothic"
