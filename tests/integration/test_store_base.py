"""The store's floor on a real Postgres: migrations, locks, and times that make an as-of exact."""

from __future__ import annotations

import datetime as dt
import threading
import time

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from pipeline.asof import AsOf
from pipeline.errors import BusyError, ConfigError, UnavailableError
from pipeline.store import Store, articles, models
from pipeline.store.base import writing
from pipeline.store.schema import metadata


@pytest.fixture
def store(database: str) -> Store:
    made = Store(database)
    made.migrate()
    return made


def test_the_migrations_make_the_schema_that_the_code_has(store: Store) -> None:
    with store.begin() as conn:
        settings = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(conn, opts=settings), metadata) == []


def test_a_database_of_the_first_release_is_brought_up_to_date_with_its_rows(database: str) -> None:
    store = Store(database)
    store.migrate("0001")
    row = "INSERT INTO models (artifact, kind, vocabulary_hash, card) VALUES ('model-1', 'trained', 'v', '{}')"
    with store.begin() as conn:
        conn.execute(sa.text(row))
    store.migrate()
    with store.begin() as conn:
        (kept,) = models.all_models(conn)
    assert (kept.artifact, kept.unhealthy_at) == ("model-1", None)


def test_stories_and_advertisements_of_an_older_database_stay_what_they_were(database: str) -> None:
    store = Store(database)
    store.migrate("0002")
    with store.begin() as conn:
        for number, story, advertised in ((1, 1, False), (2, 1, False), (3, None, True)):
            conn.execute(
                sa.text(
                    "INSERT INTO articles (url, published_at, day, first_seen_at, version, story_id, is_ad) "
                    "VALUES (:u, now(), '2026-02-01', now(), 2, :s, :a)"
                ),
                {"u": f"https://a.example/{number}", "s": story, "a": advertised},
            )
            for version in (1, 2):
                conn.execute(
                    sa.text(
                        "INSERT INTO article_versions (article_id, version, title, text, content_sha256, seen_at) "
                        "VALUES (:i, :v, '', '', '', now())"
                    ),
                    {"i": number, "v": version},
                )
        conn.execute(sa.text("INSERT INTO fingerprint_bands (band, key, article_id) VALUES (0, 1, 2)"))
    store.migrate()
    with store.begin() as conn:
        as_of = AsOf(dt.date(2026, 2, 1), store.settle())
        read = [(a.id, a.story_id) for a in articles.read(conn, as_of, ads=True)]
        wanted = [a.id for a in articles.read(conn, as_of)]
        told = conn.execute(sa.text("SELECT count(*) FROM fingerprint_bands")).scalar_one()
    assert (read, wanted, told) == ([(1, 1), (2, 1), (3, 3)], [1, 2], 0)


def test_migrating_again_and_at_once_does_nothing_more(database: str) -> None:
    stores = [Store(database) for _ in range(3)]
    threads = [threading.Thread(target=store.migrate) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with stores[0].begin() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM alembic_version")).scalar_one() == 1


def test_a_database_without_tables_says_what_to_run(database: str) -> None:
    with pytest.raises(ConfigError, match="garam migrate"), Store(database).begin() as conn:
        conn.execute(sa.text("SELECT * FROM articles"))


def test_a_database_that_does_not_answer_may_be_tried_again() -> None:
    with (
        pytest.raises(UnavailableError, match="does not answer") as caught,
        Store("postgresql://x:y@127.0.0.1:9/z").begin(),
    ):
        pass
    assert caught.value.retryable


def test_another_database_is_refused() -> None:
    with pytest.raises(ConfigError, match="PostgreSQL"):
        Store("sqlite:///x.db")


def test_known_by_never_passes_somebody_who_is_still_writing(store: Store) -> None:
    """A row stamped before T is visible to whoever reads as known by T, however slow its writer was."""
    stamped: list[dt.datetime] = []
    wrote = threading.Event()

    def write_slowly() -> None:
        with store.begin() as conn:
            stamped.append(writing(conn))
            wrote.set()
            time.sleep(1.0)
            conn.execute(sa.text("INSERT INTO removals (url) VALUES ('https://example.invalid/a')"))

    writer = threading.Thread(target=write_slowly)
    writer.start()
    assert wrote.wait(10)
    known_by = store.settle()
    with store.begin() as conn:
        assert conn.execute(sa.text("SELECT count(*) FROM removals")).scalar_one() == 1
    writer.join()
    assert known_by > stamped[0]


def test_a_lock_that_is_held_is_busy_and_ends_with_its_holder(store: Store) -> None:
    with store.lock("work"), pytest.raises(BusyError), store.lock("work", wait=False):
        pass
    with store.lock("work", wait=False):
        pass


def test_reading_articles_leaves_the_connection_able_to_write(store: Store) -> None:
    """Streaming once turned every later statement of the transaction into a cursor, so that an INSERT failed."""
    with store.begin() as conn:
        list(articles.read(conn, AsOf(dt.date(2026, 1, 1), dt.datetime.now(dt.UTC))))
        conn.execute(sa.text("INSERT INTO removals (url) VALUES ('https://example.invalid/b')"))
