"""The demo's report names every system that an evaluation measures."""

import pytest

from demo import report
from pipeline.evaluation import stage


def test_every_measured_system_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"queries": 3, "active_terms": 12.0, **dict.fromkeys(report.METRICS, 0.5)}
    systems = [stage.BM25]
    for system in (stage.FLOOR, stage.CANDIDATE, stage.CHAMPION):
        systems += [system, stage.with_bm25(system)]
    one = {
        "day": "2020-02-29",
        "verdict": "promote",
        "reason": "It is better.",
        "sets": {"fresh": dict.fromkeys(systems, row)},
    }
    summary = {
        "documents": 5, "days": 2, "first_day": "2020-02-28", "last_day": "2020-02-29", "learned": [], "rounds": [one],
        "generation": None, "searches": [], "seconds": [], "opensearch": "http://127.0.0.1:1",
        "airflow": {"url": "http://127.0.0.1:2", "username": "admin", "password_file": "/x"},
    }  # fmt: skip
    report.show(summary)
    shown = capsys.readouterr().out
    assert "lexical floor" in shown
    assert shown.count("+ BM25") == 3
