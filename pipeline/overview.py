"""The state of the service at a glance, for the pages in the Airflow UI."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from pipeline import promotion, temporal
from pipeline.asof import SEOUL, today
from pipeline.context import Context
from pipeline.store import evaluations, generations, models
from pipeline.store import statistics as statistics_rows
from pipeline.store import synonyms as synonym_rows

DECISIONS, DEPLOYMENTS, TRENDS, GROUPS = 10, 10, 15, 20


def collect(ctx: Context, day: dt.date | None = None) -> dict[str, Any]:
    """What is live, a round (the gate's decision on a day's model) and others, trends, synonyms and deployments.

    The round is the newest, or the newest of ``day``: None when that day has none. ``days`` lists those that have,
    newest first.
    """
    with ctx.store.begin() as conn:
        live = generations.live(conn)
        paused = promotion.paused(conn)
        decisions = evaluations.newest_decisions(conn, DECISIONS + 1)
        if day is not None:
            chosen = evaluations.newest_decision_of_day(conn, day)
        else:
            chosen = decisions[0] if decisions else None
        statistics_id = statistics_rows.newest(conn, day or today(), or_before=True)
        trend_day = statistics_rows.get(conn, statistics_id).as_of.day if statistics_id is not None else None
        trends = statistics_rows.trends_of(conn, statistics_id)[:TRENDS] if statistics_id is not None else []
        groups = synonym_rows.groups(conn, trend_day)[:GROUPS] if trend_day is not None else []
        run = synonym_rows.run_for(conn, trend_day) if trend_day is not None else None

        def as_round(decision: evaluations.Decision) -> dict[str, Any]:
            waits = ctx.config.gate.approval and decision.verdict == "promote" and decision.approval is None
            day = models.get(conn, decision.model_id).day
            return dataclasses.asdict(decision) | {"day": day, "waits": waits}

        return {
            "live": _seoul(dataclasses.asdict(live)) if live else None,
            "paused": paused,
            "round": as_round(chosen) if chosen else None,
            "others": [as_round(one) for one in decisions if chosen is None or one.id != chosen.id][:DECISIONS],
            "days": evaluations.days_with_decisions(conn),
            "day": trend_day,
            "trends": [{"word": t.word, "new": t.is_new, "why": _why(t)} for t in trends],
            "synonyms": [{"words": list(g.words), "confidence": round(g.confidence, 3)} for g in groups],
            "synonyms_validation": run.sentences if run else [],
            "deployments": [
                _seoul(dataclasses.asdict(one))
                for one in generations.history(conn, DEPLOYMENTS)
                if one.done_at is not None
            ],
        }


def _why(trend: statistics_rows.Trend) -> dict[str, str]:
    sentences = {"en": trend.evidence["sentence"], "ko": temporal.korean(trend)}
    return {language: sentence.removeprefix(f"{trend.word}: ") for language, sentence in sentences.items()}


def feeds(ctx: Context) -> dict[str, Any]:
    """Every feed with how it does, and the outlets that have gone silent; times in Seoul."""
    from pipeline import news

    return {
        "feeds": [_seoul(dataclasses.asdict(one) | {"condition": news.condition(one)}) for one in news.feeds(ctx)],
        "silent": [
            {
                "outlet": one.outlet,
                "last_new_at": one.last_new_at and one.last_new_at.astimezone(SEOUL).strftime("%Y-%m-%d %H:%M"),
                "usual_gap_s": one.usual_gap and one.usual_gap.total_seconds(),
            }
            for one in news.silent_outlets(ctx)
        ],
    }


def _seoul(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value.astimezone(SEOUL) if isinstance(value, dt.datetime) else value for key, value in row.items()}
