"""The steps of the day, in order: what the DAGs run task by task, and the command line in one call.

No logic of its own: each line is a stage's entry point, and ids are all that passes between them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from pipeline import dataset, evaluation, promotion, serving, synonyms, temporal, training
from pipeline.asof import AsOf, refuse_future, today
from pipeline.context import Context
from pipeline.progress import Progress, silent
from pipeline.store import articles, evaluations, models
from pipeline.store import statistics as statistics_rows
from pipeline.store import synonyms as synonym_rows


@dataclass(frozen=True)
class Learned:
    """What `learn` made for a day; ids of rows."""

    day: dt.date
    known_by: dt.datetime
    statistics: int
    query_weights: int
    weights_accepted: bool
    synonym_run: int
    synonym_groups: int


@dataclass(frozen=True)
class Retrained:
    """What `retrain` made for a day, and what became of it."""

    day: dt.date
    training_set: int
    model: int
    evaluation: int
    decision: int
    verdict: str
    reason: str
    generation: int | None


def settle(ctx: Context, day: dt.date, known_by: dt.datetime | None = None) -> AsOf:
    """The as-of of a day: known by ``known_by``, or by now with everything that is being written waited for."""
    now = ctx.store.settle()
    refuse_future(day, known_by, now=now)
    return AsOf(day, known_by or now)


def publish_weights(ctx: Context, query_weights_id: int) -> bool:
    """Judge query weights by their smaller gate and, if accepted, serve them; whether they were accepted.

    Weights of a day older than the served ones (a backfill) are kept for training and never served.
    """
    accepted = evaluation.judge_query_weights(ctx, query_weights_id)
    if accepted:
        serving.publish_query_weights(ctx, query_weights_id)
    return accepted


def renew_trends(ctx: Context, progress: Progress = silent) -> int | None:
    """Count what the crawl brought, measure which words rise now, and serve it; the trend weights' id.

    None before there is a base, whose vocabulary is what is counted.
    """
    if base(ctx) is None:
        return None
    temporal.count_articles(ctx, progress=progress)
    trend_weights_id = temporal.measure_trend_weights(ctx, settle(ctx, today()))
    serving.publish_trend_weights(ctx, trend_weights_id)
    return trend_weights_id


def learn(ctx: Context, day: dt.date, known_by: dt.datetime | None = None, progress: Progress = silent) -> Learned:
    """Counts, statistics, query weights and synonyms of a day."""
    refuse_future(day)
    training.ensure_base(ctx, progress=progress)
    temporal.count_articles(ctx, progress=progress)
    as_of = settle(ctx, day, known_by)
    statistics_id = temporal.learn_statistics(ctx, as_of)
    weights_id = temporal.make_query_weights(ctx, statistics_id)
    accepted = publish_weights(ctx, weights_id)
    run_id = synonyms.discover(ctx, as_of, progress=progress)
    validation = synonyms.validate(ctx, run_id)
    return Learned(day, as_of.known_by, statistics_id, weights_id, accepted, run_id, validation.groups)


def approve(ctx: Context, decision_id: int, *, by: str, approved: bool) -> None:
    """Record a person's approval or refusal of a decision to promote."""
    with ctx.store.begin() as conn:
        evaluations.record_approval(conn, decision_id, by=by, approved=approved)


def retrain(ctx: Context, day: dt.date, progress: Progress = silent, *, deploy: bool = True) -> Retrained:
    """Training set, training, evaluation, decision and, when it says so, deployment of a day's model."""
    as_of = settle(ctx, day)
    training_set_id = dataset.build(ctx, as_of, progress=progress)
    job = training.make_job(ctx, training_set_id)
    result = training.run_job(ctx.artifacts, job, progress=progress)
    model_id = training.register(ctx, job, result)
    evaluation_id = evaluation.evaluate(ctx, model_id, progress=progress)
    decision_id = evaluation.decide(ctx, evaluation_id)
    with ctx.store.begin() as conn:
        decision = evaluations.decision(conn, decision_id)
    generation = None
    if deploy and promotion.next_step(decision, approval=ctx.config.gate.approval) == "deploy":
        generation = serving.deploy(ctx, model_id)
    return Retrained(
        day, training_set_id, model_id, evaluation_id, decision_id, decision.verdict, decision.reason, generation
    )


def write_base_job(ctx: Context, action: str = "build_base", progress: Progress = silent) -> str:
    """The job of building the base (``build_base``), of growing its vocabulary by the words of the newest trends
    (``grow_base``), or of fine-tuning its dense encoder on yesterday's training set (``fine_tune``)."""
    if action == "build_base":
        return training.make_base_job(ctx)
    if action == "grow_base":
        return training.make_growth_job(ctx)
    as_of = settle(ctx, today() - dt.timedelta(days=1))
    return training.make_fine_tuning_job(ctx, dataset.build(ctx, as_of, progress=progress))


def build_base(ctx: Context, action: str = "build_base", progress: Progress = silent) -> int:
    """The id of the base: built unless it is there, grown or fine-tuned (see `write_base_job`)."""
    if action == "build_base":
        return training.ensure_base(ctx, progress=progress)
    job = write_base_job(ctx, action, progress)
    return training.register(ctx, job, training.run_job(ctx.artifacts, job, progress))


@dataclass(frozen=True)
class Forgotten:
    """What a removal request did."""

    url: str  # canonical
    articles: int  # that lost their text
    indexed: int  # copies that went from OpenSearch
    payloads: int  # raw answers of feeds that were emptied
    erased: list[str]  # artifacts that held its words and are gone
    holding: list[str]  # artifacts that hold its words still
    vectors: list[str]  # artifacts of vectors and statistics made of it that are gone, or were written again without it
    copies: list[str]  # other articles that tell the same, which stay


def forget(ctx: Context, url: str, reason: str = "", *, erase: bool = False) -> Forgotten:
    """Honour a removal request: from the store for good, from every warm index, from raw answers, and from the vectors
    and statistics that models are learned from.

    Other artifacts are made of many articles and never changed: those that hold its words are listed, and with
    ``erase`` they are removed, but for the frozen anchor set. Run again, it does what is left to do.
    """
    from pipeline import news, retention

    keys = retention.text_keys(ctx, news.address(url))
    report = news.forget(ctx, url, reason=reason, text_keys=keys)
    # After the removal is known: whoever enters vectors from then on leaves out those of removed texts.
    vectors = retention.forget_vectors(ctx, report.ids, keys)
    indexed = serving.forget(ctx, report.url)
    holding, erased = retention.holding(ctx, report.ids, keys), list[str]()
    if erase:
        erased, holding = retention.erase(ctx, holding)
    return Forgotten(
        report.url, report.articles, indexed, report.payloads, erased, holding, vectors, list(report.copies)
    )


def base(ctx: Context) -> int | None:
    """The id of the newest base model; None where none was built yet."""
    with ctx.store.begin() as conn:
        found = models.base(conn)
    return found.id if found else None


def has_news(ctx: Context, day: dt.date) -> bool:
    """Whether there is an article of the days up to ``day`` that a model would be trained on."""
    with ctx.store.begin() as conn:
        since = day - dt.timedelta(days=ctx.config.dataset.window_days - 1)
        return articles.any_between(conn, since, day)


def is_learned(ctx: Context, day: dt.date) -> bool:
    """Whether a day's statistics and validated synonyms are there: what a retraining of that day reads."""
    with ctx.store.begin() as conn:
        run = synonym_rows.run_for(conn, day)
        return statistics_rows.newest(conn, day) is not None and run is not None and run.day == day


def next_step(ctx: Context, decision_id: int) -> str:
    """What follows a decision: deploy, ask (a person, for approval) or stop."""
    with ctx.store.begin() as conn:
        return promotion.next_step(evaluations.decision(conn, decision_id), approval=ctx.config.gate.approval)


def explain(ctx: Context, decision_id: int) -> str:
    """A decision as a table a person can read."""
    with ctx.store.begin() as conn:
        text: str = evaluation.render_decision(evaluations.decision(conn, decision_id))
        return text
