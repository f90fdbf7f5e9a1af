"""Temporal statistics: counts, temporal IDF, trends, series, drift, and query weights.

The daily run is `count_articles`, then an as-of is taken, then `learn_statistics` and `make_query_weights`; `trends`
and `series` read stored results. `pipeline.temporal.in_memory` has the same functions on lists of documents. This
package imports nothing heavy by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.temporal.counting import CountReport, count_articles
    from pipeline.temporal.history import SeriesRow, drift_of_days, no_trends, series, trends
    from pipeline.temporal.in_memory import (
        TrendingToken,
        analyze_token_frequency_over_time,
        calculate_ensemble_idf,
        calculate_temporal_idf,
        calculate_windowed_idf,
        detect_trending_tokens,
    )
    from pipeline.temporal.learn import learn_statistics
    from pipeline.temporal.plots import plot_drift, plot_series, plot_trends
    from pipeline.temporal.sentences import korean
    from pipeline.temporal.trend_weights import measure_trend_weights
    from pipeline.temporal.weight_explanation import ExplainedWeights, TokenWeight, explain_weights
    from pipeline.temporal.weights import make_query_weights

_HOME = {
    "CountReport": "counting",
    "count_articles": "counting",
    "learn_statistics": "learn",
    "make_query_weights": "weights",
    "measure_trend_weights": "trend_weights",
    "ExplainedWeights": "weight_explanation",
    "TokenWeight": "weight_explanation",
    "explain_weights": "weight_explanation",
    "SeriesRow": "history",
    "drift_of_days": "history",
    "no_trends": "history",
    "series": "history",
    "trends": "history",
    "plot_drift": "plots",
    "plot_series": "plots",
    "plot_trends": "plots",
    "korean": "sentences",
    "TrendingToken": "in_memory",
    "analyze_token_frequency_over_time": "in_memory",
    "calculate_ensemble_idf": "in_memory",
    "calculate_temporal_idf": "in_memory",
    "calculate_windowed_idf": "in_memory",
    "detect_trending_tokens": "in_memory",
}

__all__ = [
    "CountReport",
    "ExplainedWeights",
    "SeriesRow",
    "TokenWeight",
    "TrendingToken",
    "analyze_token_frequency_over_time",
    "calculate_ensemble_idf",
    "calculate_temporal_idf",
    "calculate_windowed_idf",
    "count_articles",
    "detect_trending_tokens",
    "drift_of_days",
    "explain_weights",
    "korean",
    "learn_statistics",
    "make_query_weights",
    "measure_trend_weights",
    "no_trends",
    "plot_drift",
    "plot_series",
    "plot_trends",
    "series",
    "trends",
]

__getattr__ = attributes(__name__, _HOME)
