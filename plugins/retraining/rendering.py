"""The overview as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from retraining.escaping import document, table, text
from retraining.words import Words

ENGLISH = Words()


def heading(say: Words, here: str) -> str:
    """The top of a page: its name, the other page, the other language."""
    links = []
    for name, path in (("Overview", "./"), ("Feeds", "feeds")):
        label = text(say(name))
        links.append(f"<b>{label}</b>" if name == here else f'<a href="{path}?lang={say.language}">{label}</a>')
    other, tongue = ("en", "English") if say.language == "ko" else ("ko", "한국어")
    path = "./" if here == "Overview" else "feeds"
    links.append(f'<a class="right" lang="{other}" href="{path}?lang={other}">{tongue}</a>')
    return f"<h1>Garam (가람)</h1><nav>{''.join(links)}</nav>"


def render(overview: dict[str, Any], say: Words = ENGLISH) -> str:
    """The page of an overview (`pipeline.overview.collect`)."""
    live, paused = overview["live"], overview["paused"]
    parts = [heading(say, "Overview")]
    if paused:
        sentence = say("Automatic promotion is paused: {} (operate: resume lifts it)", paused)
        parts.append(f"<p class=paused>{text(sentence)}</p>")
    if live:
        sentence = say(
            "Generation {} is live: model {}, index {}, since {}.",
            live["id"], live["model_id"], live["index_name"], live["promoted_at"],
        )  # fmt: skip
    else:
        sentence = say("No generation is live yet: no candidate has passed the gate.")
    parts.append(f"<p>{text(sentence)}</p>")
    parts += [f"<h2>{text(say('Decisions'))}</h2>", _decisions(overview["decisions"], say)]
    trends = overview["trends"]
    parts.append(f"<h2>{text(say('Trends of {}', overview['day']) if trends else say('Trends'))}</h2>")
    if trends:
        rows = ((t["word"], say("new") if t["new"] else "", t["why"]) for t in trends)
        parts.append(table((say("word"), "", say("why")), rows))
    else:
        parts.append(f"<p>{text(say('None yet.'))}</p>")
    parts.append(f"<h2>{text(say('Synonym groups'))}</h2>")
    groups = ((" = ".join(g["words"]), g["confidence"]) for g in overview["synonyms"])
    parts.append(table((say("words"), say("confidence")), groups))
    parts.append(f"<h2>{text(say('Deployments'))}</h2>")
    rows = ((d["at"], d["action"], d["generation_id"], d["actor"], d["reason"]) for d in overview["deployments"])
    parts.append(table([say(name) for name in ("when", "what", "generation", "who", "why")], rows))
    return document("".join(parts), say.language)


def render_problem(sentence: str, say: Words = ENGLISH) -> str:
    """The page when something does not answer, or may not be done."""
    return document(f"<h1>Garam (가람)</h1><p>{text(sentence)}</p>", say.language)


def _decisions(decisions: Sequence[dict[str, Any]], say: Words) -> str:
    if not decisions:
        return f"<p>{text(say('None yet.'))}</p>"
    rows = []
    for one in decisions:
        rules = "".join(
            f"<tr><td class={'pass' if r['passed'] else 'fail'}>{text(say('pass' if r['passed'] else 'FAIL'))}</td>"
            f"<td>{text(r['name'])}</td><td>{text(r['sentence'])}</td></tr>"
            for r in one["rules"]
        )
        promoted = one["verdict"] == "promote"
        rows.append(
            f"<tr><td class=short>{text(one['day'])}</td><td>{text(one['model_id'])}</td>"
            f"<td class={'promote' if promoted else 'reject'}>{text(say('promote' if promoted else 'reject'))}</td>"
            f"<td><details><summary>{text(one['reason'])}</summary><table>{rules}</table></details></td></tr>"
        )
    headers = "".join(f"<th>{text(say(name))}</th>" for name in ("day", "model", "verdict", "why"))
    return f"<table><tr>{headers}</tr>{''.join(rows)}</table>"
