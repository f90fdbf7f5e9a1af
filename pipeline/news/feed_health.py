"""How feeds and outlets do, in words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.asof import SEOUL

if TYPE_CHECKING:
    from pipeline.store.feeds import FeedState, SilentOutlet


def condition(state: FeedState) -> str:
    """The state of a feed in a word: disabled, waiting (never polled), quarantined, failing, doubtful or ok.

    Doubtful: the last response was read, but something in it could not be used.
    """
    if not state.enabled:
        return "disabled"
    if state.status is None:
        return "waiting"
    if state.quarantined_until is not None and state.failures:
        return "quarantined"
    if state.failures:
        return "failing"
    return "doubtful" if state.error or state.item_errors else "ok"


def silence(outlet: SilentOutlet) -> str:
    """Since when an outlet has been silent, how long it usually is, and what to do."""
    if outlet.last_new_at is None:
        return f"{outlet.outlet} has never brought an article: check its feeds, or disable them"
    since = outlet.last_new_at.astimezone(SEOUL).strftime("%Y-%m-%d %H:%M")
    usual = ""
    if outlet.usual_gap is not None:
        usual = f", and it usually takes at most {outlet.usual_gap.total_seconds() / 3600:.1f} hours"
    return f"{outlet.outlet} has brought nothing new since {since}{usual}: check its feeds, or disable them"
