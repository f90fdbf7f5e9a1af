"""The pages' routes over a real database: days, languages, connections."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from types import SimpleNamespace

import httpx
import psycopg2
import pytest
from airflow.api_fastapi.core_api.security import get_user
from fastapi.testclient import TestClient

from pipeline.asof import SEOUL
from pipeline.store import Store, evaluations, models
from retraining import api
from tests.services import libpq

DAYS = (dt.date(2026, 11, 1), dt.date(2026, 11, 3))


@pytest.fixture
def client(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """The application over a database with a round on two days; whoever asks may read and not edit."""
    monkeypatch.setenv("GARAM_DATABASE_URL", database)
    monkeypatch.setenv("GARAM_STORAGE__ARTIFACTS", str(tmp_path))
    store = Store(database)
    store.migrate()
    with store.begin() as conn:
        for day in DAYS:
            known_by = dt.datetime.combine(day, dt.time(23), SEOUL)
            model = models.register(
                conn, artifact=f"model-{day}", kind="trained", vocabulary_hash="v", card={}, day=day, known_by=known_by
            )
            evaluation = evaluations.register(
                conn, model_id=model, champion_id=None, config_hash="c", report={}, artifact="a"
            )
            evaluations.register_decision(
                conn, model_id=model, evaluation_id=evaluation, verdict="reject", reason=f"Reason of {day}.", rules=[]
            )
    store.close()
    (readable,) = api.MAY_READ
    monkeypatch.setitem(api.app.dependency_overrides, readable.dependency, lambda: None)
    monkeypatch.setitem(api.app.dependency_overrides, api.may_edit, lambda: False)
    return TestClient(api.app)


def test_the_newest_round_or_that_of_the_day(client: TestClient) -> None:
    newest = client.get("/").text
    assert "Round of 2026-11-03: reject" in newest
    assert newest.index("Reason of 2026-11-03.") < newest.index("Reason of 2026-11-01.")
    chosen = client.get("/", params={"day": "2026-11-01"}).text
    assert chosen.index("Reason of 2026-11-01.") < chosen.index("Reason of 2026-11-03.")
    assert client.get("/overview", params={"day": "2026-11-01"}).json()["round"]["day"] == "2026-11-01"


def test_a_day_without_a_round_names_those_that_have_one(client: TestClient) -> None:
    sentences = {
        "": "“” is not a day",
        "yesterday": "“yesterday” is not a day",
        "2026-11-31": "“2026-11-31” is not a day",
        "2026-11-02": "No model of 2026-11-02 has been evaluated.",
    }
    for day, sentence in sentences.items():
        response = client.get("/", params={"day": day})
        assert response.status_code == 404
        assert sentence in response.text
        assert "Newest round: 2026-11-03" in response.text
        for other in DAYS:
            assert f'href="./?day={other}&amp;lang=en"' in response.text
        assert "Reason of" not in response.text


def test_the_browsers_language_is_used(client: TestClient) -> None:
    assert "2026-11-03 회차: 기각" in client.get("/", headers={"Accept-Language": "ko-KR,ko;q=0.9"}).text


def test_a_view_leaves_no_connection_open(client: TestClient, database: str) -> None:
    for path in ("/", "/overview", "/feeds", "/feeds.json", "/?day=x"):
        client.get(path)
    with psycopg2.connect(libpq(database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert cursor.fetchone() == (0,)
    connection.close()


def test_a_database_that_does_not_respond_is_one_sentence(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARAM_DATABASE_URL", "postgresql://garam@127.0.0.1:1/garam")
    response = client.get("/")
    assert response.status_code == 503
    assert "does not answer" in response.text


def test_feeds_are_added_corrected_switched_and_deleted(
    client: TestClient, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(api.app.dependency_overrides, api._edit, lambda: None)
    monkeypatch.setitem(api.app.dependency_overrides, api.may_edit, lambda: True)
    monkeypatch.setitem(api.app.dependency_overrides, get_user, lambda: SimpleNamespace(get_name=lambda: "kim"))
    feed = "https://198.41.0.4/rss.xml"

    def post(**form: str) -> httpx.Response:
        return client.post("/feeds", data=form, headers={"Sec-Fetch-Site": "same-origin"})

    def row() -> tuple[str, str, bool]:
        (state,) = client.get("/feeds.json").json()["feeds"]
        return state["outlet"], state["category"], state["enabled"]

    assert "The feed is in the list." in post(action="add", url=feed, outlet="가람일보", category="경제").text
    post(action="add", url=feed)
    assert row() == ("가람일보", "경제", True), "what is not given stays"
    post(action="add", url=feed, category="정치", outlet=" ")
    assert row() == ("가람일보", "정치", True)
    assert "The feed is disabled." in post(action="disable", url=feed).text
    assert row() == ("가람일보", "정치", False)
    assert "The feed is enabled." in post(action="enable", url=feed).text
    for address in (
        "http://127.0.0.1/rss", "http://localhost:8080/rss", "http://10.0.0.1/", "http://192.168.0.1/rss",
        "http://169.254.169.254/latest", "http://[::1]/", "http://[fd00::1]/rss", "http://2130706433/", "http://0/",
    ):  # fmt: skip
        refused = post(action="add", url=address)
        assert refused.status_code == 400, address
        assert "in a network that is not fetched from" in refused.text
    assert row()[0] == "가람일보"
    with psycopg2.connect(libpq(database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO polls (feed_id, started_at, finished_at, status) SELECT id, now(), now(), 'ok' FROM feeds"
        )
    connection.close()
    assert "The feed is deleted. Its articles stay." in post(action="delete", url=feed).text
    assert client.get("/feeds.json").json()["feeds"] == []
    assert post(action="delete", url=feed).status_code == 400
    post(action="add", url=feed)
    assert row() == ("198.41.0.4", "", True)
    assert "<p class=" not in client.get("/feeds", params={"done": "<b>x"}).text
