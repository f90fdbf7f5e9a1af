"""Who may be promoted, as far as no database is needed."""

from __future__ import annotations

import datetime as dt

import pytest

from pipeline.asof import SEOUL, AsOf
from pipeline.promotion import is_newer, next_step
from pipeline.store.evaluations import Decision

KNOWN = dt.datetime(2020, 3, 4, 9, tzinfo=SEOUL)


def decision(verdict: str, approval: str | None = None) -> Decision:
    return Decision(1, 1, 1, verdict, "", [], approval, None, KNOWN)


@pytest.mark.parametrize(
    ("made", "approval", "step"),
    [
        (decision("reject"), False, "stop"),
        (decision("reject", "approved"), True, "stop"),
        (decision("promote"), False, "deploy"),
        (decision("promote"), True, "ask"),
        (decision("promote", "refused"), True, "ask"),
        (decision("promote", "approved"), True, "deploy"),
    ],
)
def test_what_follows_a_decision(made: Decision, approval: bool, step: str) -> None:
    assert next_step(made, approval=approval) == step


def test_only_a_newer_as_of_replaces_another() -> None:
    first = AsOf(dt.date(2020, 3, 3), KNOWN)
    again = AsOf(dt.date(2020, 3, 3), KNOWN + dt.timedelta(hours=1))
    backfill = AsOf(dt.date(2020, 3, 2), KNOWN + dt.timedelta(days=1))
    assert is_newer(again, first)
    assert not is_newer(first, first)
    assert not is_newer(backfill, first)
    assert is_newer(first, None)
    assert not is_newer(None, None)
