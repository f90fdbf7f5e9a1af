"""The pages as HTML: templates in ``templates``, every value escaped by Jinja2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from retraining import gate_korean
from retraining.translations import Translation

ENGLISH = Translation()
CONDITIONS = ("failing", "quarantined", "doubtful", "waiting", "ok", "disabled")  # those that need attention first


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["minute"] = lambda instant: instant.strftime("%Y-%m-%d %H:%M")
    return environment


def _render(template: str, translation: Translation, **values: Any) -> str:
    return _environment().get_template(template).render({"title": "Overview", **values, "_": translation})


def overview(values: dict[str, Any], translation: Translation = ENGLISH) -> str:
    """The page of `pipeline.overview.collect`: the verdict of its round first, with every rule."""
    korean = translation.language == "ko"
    round_ = values["round"]
    return _render(
        "overview.html",
        translation,
        **values,
        **({"shown_day": round_["day"]} if round_ else {}),
        reason=gate_korean.reason if korean else lambda decision: decision["reason"],
        rule_name=gate_korean.name if korean else lambda rule: rule["name"],
        rule_sentence=gate_korean.sentence if korean else lambda rule: rule["sentence"],
    )


def no_round(asked: str, days: Sequence[Any], translation: Translation = ENGLISH, *, malformed: bool = False) -> str:
    """The page for a day without a round: which days (newest first) have one."""
    return _render("no_round.html", translation, asked=asked, shown_day=asked, days=days, malformed=malformed)


def feeds(
    values: dict[str, Any],
    translation: Translation = ENGLISH,
    *,
    may_edit: bool = False,
    troubled: bool = False,
    notice: str = "",
    done: str = "",
) -> str:
    """The page of `pipeline.overview.feeds`; ``troubled`` leaves out the feeds without problems.

    ``notice`` says what could not be done, ``done`` what was.
    """
    every = values["feeds"]
    counts = Counter(feed["condition"] for feed in every)
    shown = [feed for feed in every if not troubled or feed["condition"] not in ("ok", "disabled")]
    shown.sort(key=lambda feed: (CONDITIONS.index(feed["condition"]), feed["outlet"], feed["url"]))
    return _render(
        "feeds.html",
        translation,
        title="Feeds",
        here="feeds",
        feeds=every,
        counts={condition: counts[condition] for condition in CONDITIONS if counts[condition]},
        silent=values["silent"],
        shown=shown,
        may_edit=may_edit,
        troubled=troubled,
        notice=notice,
        done=done,
    )


def problem(sentence: str, translation: Translation = ENGLISH) -> str:
    """The page when a service does not respond or a request is refused."""
    return _render("problem.html", translation, sentence=sentence)
