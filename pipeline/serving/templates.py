"""The stored search templates of the alias: what a client sends its text to, and nothing else.

They are written again whenever what they name changes: another generation is live, other trend weights are published,
recency is switched off or on.
"""

from __future__ import annotations

from pipeline.context import Context
from pipeline.search import bodies
from pipeline.serving.recipe import Names
from pipeline.store import generations
from pipeline.store.generations import Generation

_SWITCH, _OFF, _ON = "recency", "off", "on"


def put_templates(ctx: Context, live: Generation) -> None:
    """Write the templates of the live generation; idempotent. The caller holds the ``swap`` lock."""
    config, names = ctx.config.serving, Names(ctx.config.serving.alias)
    model = live.trend_model if recency_off(ctx) is None else None
    for name, depth in ((names.template, None), (names.hybrid_template, config.hybrid_depth)):
        source = bodies.search_template(
            trend_model=model, strength=config.recency_strength, days=config.recency_days, depth=depth
        )
        if ctx.cluster.template(name) != source:
            ctx.cluster.put_template(name, source)


def recency_off(ctx: Context) -> str | None:
    """Why a person switched recency off; None where it is on."""
    with ctx.store.begin() as conn:
        switch = generations.switch(conn, _SWITCH)
    return switch[1] if switch is not None and switch[0] == _OFF else None


def switch_recency(ctx: Context, on: bool, reason: str) -> None:
    """Record whether recency is on; `put_templates` makes it so."""
    with ctx.store.begin() as conn:
        generations.set_switch(conn, _SWITCH, _ON if on else _OFF, reason)
