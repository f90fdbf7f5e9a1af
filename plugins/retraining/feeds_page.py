"""The feeds as HTML: how each does, in which words it fails, and forms that change the list."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Any

from retraining.escaping import document, text
from retraining.page import ENGLISH, heading
from retraining.words import Words

STATES = ("failing", "quarantined", "doubtful", "waiting", "ok", "disabled")  # the order in which a person wants them


def render(
    overview: dict[str, Any], say: Words = ENGLISH, *, may_edit: bool = False, troubled: bool = False, notice: str = ""
) -> str:
    """The page of `pipeline.overview.feeds`; ``troubled`` leaves out the feeds that do well."""
    feeds = overview["feeds"]
    counts = Counter(feed["condition"] for feed in feeds)
    parts = [heading(say, "Feeds")]
    if notice:
        parts.append(f"<p class=notice>{text(notice)}</p>")
    said = ", ".join(f"{say(state)} {counts[state]}" for state in STATES if counts[state])
    parts.append(f"<p>{text(say('{} feeds: {}.', len(feeds), said))}</p>" if feeds else f"<p>{text(_none(say))}</p>")
    if overview["silent"]:
        lines = "".join(f"<li>{text(_silence(say, one))}</li>" for one in overview["silent"])
        parts.append(f"<h2>{text(say('Silent outlets'))}</h2><ul>{lines}</ul>")
    parts.append(f"<h2>{text(say('Add a feed'))}</h2>" + (_add_form(say) if may_edit else _no_edit(say)))
    shown = [feed for feed in feeds if not troubled or feed["condition"] not in ("ok", "disabled")]
    shown.sort(key=lambda feed: (STATES.index(feed["condition"]), feed["outlet"], feed["url"]))
    parts.append(f"<h2>{text(say('Feeds'))}</h2>{_choice(say, troubled)}")
    names = ("outlet", "category", "state", "interval", "last ok", "last new", "articles", "last poll")
    headers = "".join(f"<th>{text(say(name))}</th>" for name in (*names, "what is wrong"))
    rows = "".join(_row(say, feed, may_edit) for feed in shown)
    parts.append(f"<table><tr>{headers}<th></th></tr>{rows}</table>")
    return document("".join(parts), say.language)


def _none(say: Words) -> str:
    return say("There is no feed yet: add one, or let the next crawl take the list that is shipped.")


def _no_edit(say: Words) -> str:
    sentence = say("You may look at this, not change it: triggering `operate` is not allowed to you.")
    return f"<p>{text(sentence)}</p>"


def _choice(say: Words, troubled: bool) -> str:
    every, some = text(say("All")), text(say("Only what needs a look"))
    where = f"feeds?lang={say.language}"
    if troubled:
        return f'<p><a href="{where}">{every}</a> · <b>{some}</b></p>'
    return f'<p><b>{every}</b> · <a href="{where}&amp;show=troubled">{some}</a></p>'


def _silence(say: Words, one: dict[str, Any]) -> str:
    if one["last_new_at"] is None:
        return say("{}: it has never brought an article.", one["outlet"])
    if one["usual_gap_s"] is None:
        return say("{}: nothing new since {}.", one["outlet"], one["last_new_at"])
    usual = _long(say, one["usual_gap_s"])
    sentence = "{}: nothing new since {}; usually at most {} between two articles."
    return say(sentence, one["outlet"], one["last_new_at"], usual)


def _long(say: Words, seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return say("{} min", minutes) if minutes < 100 else say("{} h", f"{seconds / 3600:.1f}")


def _add_form(say: Words) -> str:
    def field(name: str, label: str, more: str) -> str:
        return f'<label>{text(say(label))}<input name="{name}" {more}></label>'

    return (
        f'<form class=add method=post action="feeds?lang={say.language}"><input type=hidden name=action value=add>'
        + field("url", "Address", 'type=url required size=50 placeholder="https://"')
        + field("outlet", "Outlet", "maxlength=200")
        + field("category", "Category", "maxlength=200")
        + f"<button>{text(say('Add'))}</button></form>"
    )


def _row(say: Words, feed: dict[str, Any], may_edit: bool) -> str:
    state = feed["condition"]
    word = say(state)
    if state == "failing":
        word = say("failing {} times", feed["failures"])
    elif state == "quarantined":
        word = say("quarantined until {}", _at(feed["quarantined_until"]))
    polled = say("{} items, {} new", feed["items"], feed["new"]) if feed["last_polled_at"] else ""
    if feed["last_polled_at"]:
        polled = f"{_at(feed['last_polled_at'])}: {polled}"
    cells = [
        f"<td>{text(feed['outlet'])}<div class=url>{text(feed['url'])}</div></td><td>{text(feed['category'])}</td>",
        f"<td class={state}>{text(word)}</td><td class=number>{text(_long(say, feed['interval_s']))}</td>",
        f"<td class=short>{text(_at(feed['last_ok_at']) or say('never'))}</td>",
        f"<td class=short>{text(_at(feed['last_new_at']) or say('never'))}</td>",
        f"<td class=number>{text(feed['articles'])}</td><td class=small>{text(polled)}</td>",
        f"<td class=small>{_wrong(say, feed)}</td><td>{_switch_form(say, feed) if may_edit else ''}</td>",
    ]
    return f"<tr class={'disabled' if state == 'disabled' else 'on'}>{''.join(cells)}</tr>"


def _wrong(say: Words, feed: dict[str, Any]) -> str:
    said = text(feed["error"]) if feed["error"] else ""
    items = feed["item_errors"] or []
    if items:
        lines = "".join(f"<li>{text(one['item'])}: {text(one['error'])}</li>" for one in items)
        label = text(say("items of the last answer: {}", len(items)))
        said += f"<details><summary>{label}</summary><ul>{lines}</ul></details>"
    return said


def _switch_form(say: Words, feed: dict[str, Any]) -> str:
    actions = [("disable", "Disable")] if feed["enabled"] else [("enable", "Enable")]
    if feed["enabled"] and feed["failures"]:  # also out of a quarantine
        actions.append(("enable", "Try now"))
    return "".join(
        f'<form method=post action="feeds?lang={say.language}"><input type=hidden name=action value={action}>'
        f'<input type=hidden name=url value="{text(feed["url"])}">'
        f"<button>{text(say(label))}</button></form>"
        for action, label in actions
    )


def _at(instant: dt.datetime | str | None) -> str:
    if isinstance(instant, dt.datetime):
        return instant.strftime("%m-%d %H:%M")
    return instant or ""
