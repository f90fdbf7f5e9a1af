"""The state of the service at a glance, for the pages in the Airflow UI."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import Any

from pipeline.asof import SEOUL, today
from pipeline.context import Context
from pipeline.store import evaluations, generations, models
from pipeline.store import feeds as feed_rows
from pipeline.store import statistics as statistics_rows
from pipeline.store import synonyms as synonym_rows

DECISIONS, DEPLOYMENTS, TRENDS, GROUPS = 10, 10, 15, 20


def collect(ctx: Context) -> dict[str, Any]:
    """What is live, the newest decisions with every rule, trends, synonym groups and deployments."""
    with ctx.store.begin() as conn:
        live = generations.live(conn)
        switch = generations.switch(conn, "promotion")
        decided = evaluations.newest_decisions(conn, DECISIONS)
        days = {one.model_id: models.get(conn, one.model_id).day for one in decided}
        statistics_id = statistics_rows.newest(conn, today(), or_before=True)
        day = statistics_rows.get(conn, statistics_id).as_of.day if statistics_id is not None else None
        trends = statistics_rows.trends_of(conn, statistics_id)[:TRENDS] if statistics_id is not None else []
        groups = synonym_rows.groups(conn, day)[:GROUPS] if day is not None else []
        deployments = generations.history(conn, DEPLOYMENTS)
    return {
        "live": dataclasses.asdict(live) if live else None,
        "paused": switch[1] if switch is not None and switch[0] == "paused" else None,
        "decisions": [{**dataclasses.asdict(one), "day": days[one.model_id]} for one in decided],
        "day": day,
        "trends": [{"word": t.word, "new": t.is_new, "why": t.evidence["sentence"]} for t in trends],
        "synonyms": [{"words": list(g.words), "confidence": round(g.confidence, 3)} for g in groups],
        "deployments": [
            {**dataclasses.asdict(one), "at": one.at.astimezone(SEOUL).strftime("%Y-%m-%d %H:%M")}
            for one in deployments
            if one.done_at is not None
        ],
    }


def feeds(ctx: Context) -> dict[str, Any]:
    """Every feed with how it does, and the outlets that have gone silent; times in Seoul."""
    from pipeline import news

    return {
        "feeds": [_seoul(dataclasses.asdict(one) | {"condition": feed_rows.condition(one)}) for one in news.feeds(ctx)],
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
