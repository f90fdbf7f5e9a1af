"""crawl_news: every 30 minutes, polls the feeds that are due; then new articles go to the live index."""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from common.garam import DEFAULT_ARGS, garam, logged


@dag(
    schedule="*/30 * * * *",
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULT_ARGS | {"execution_timeout": dt.timedelta(minutes=25)},
    params={"force": Param(False, type="boolean", title="All feeds now", description="also those that are not due")},
    doc_md=__doc__,
    tags=["garam", "news"],
)
def crawl_news() -> None:
    @task
    def crawl() -> dict[str, Any]:
        """Poll every feed that is due; one broken feed never stops the others."""
        from pipeline import news

        force = bool(get_current_context()["params"]["force"])
        with garam() as ctx:
            for outlet, last in news.silent_outlets(ctx):
                logging.getLogger("garam").warning("%s has brought nothing new since %s", outlet, last or "ever")
            return dataclasses.asdict(news.crawl(ctx, force=force, progress=logged()))

    @task
    def index_new_articles() -> int:
        """Encode what is new with the champion and add it to the live index."""
        from pipeline import serving

        with garam() as ctx:
            return serving.index_new_articles(ctx, progress=logged())

    crawl() >> index_new_articles()


crawl_news()
