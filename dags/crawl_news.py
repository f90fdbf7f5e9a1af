"""crawl_news: every 30 minutes, polls the feeds that are due; then new articles go to the live index, and words that
rise today lift them in the ranking.

One task polls all feeds concurrently: one task per feed would be thousands of task instances a day. Its log has the
result of each poll. `watch_outlets` fails once for each outlet that goes silent, so that alerts on failed tasks report
it; the logs of later runs keep naming it.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import logging
from typing import Any

from airflow.sdk import Param, TriggerRule, dag, get_current_context, task
from airflow.sdk.exceptions import AirflowFailException

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
        logger, began = logging.getLogger("garam.polls"), dt.datetime.now(dt.UTC)
        with garam() as ctx:
            report = news.crawl(ctx, force=force, progress=logged())
            for poll in news.polls_since(ctx, began):
                logger.log(
                    logging.WARNING if poll.status == "error" else logging.INFO,
                    "%s %s: %s in %.1f s, %d bytes; %d items, %d new, %d updated, %d duplicates, %d errors%s",
                    poll.outlet, poll.url, poll.status, poll.seconds, poll.bytes, poll.items, poll.new, poll.updated,
                    poll.duplicates, poll.errors, f" ({poll.error})" if poll.error else "",
                )  # fmt: skip
            return dataclasses.asdict(report)

    @task
    def index_new_articles() -> int:
        """Encode the new articles with the champion and add them to the live index."""
        from pipeline import serving

        with garam() as ctx:
            return serving.index_new_articles(ctx, progress=logged())

    @task
    def renew_trends() -> int | None:
        """Count the new articles, and let words that rise find today's articles first."""
        from pipeline import daily

        with garam() as ctx:
            return daily.renew_trends(ctx, progress=logged())

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def watch_outlets() -> list[str]:
        """Fail when an outlet has gone silent since the last run, with its sentence as the error."""
        from pipeline import news

        with garam() as ctx:
            silent = [news.silence(one) for one in news.silent_outlets(ctx)]
            for sentence in silent:
                logging.getLogger("garam.outlets").warning(sentence)
            new = [news.silence(one) for one in news.newly_silent(ctx)]
        if new:
            raise AirflowFailException("; ".join(new))
        return silent

    crawl() >> [index_new_articles(), renew_trends(), watch_outlets()]


crawl_news()
