"""Answers made to break their reader: each gets its sentence in time, and the next one is read."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import pytest

from pipeline.config.news import NewsConfig
from pipeline.errors import BadInputError
from pipeline.news.extraction import FeedJob, PageJob, read_feed
from pipeline.news.sandbox import Sandbox
from tests.unit.news.feed_cases import CASES, LINK, TITLE, item, rss

T = TypeVar("T")
JOB = FeedJob("https://news.garam.example/rss.xml", dt.datetime(2026, 2, 14, tzinfo=dt.UTC), languages=("ko",))
GOOD = rss(item(rest="<description>올해 경제가 2% 성장할 것이라고 했다.</description>")).encode()
# feedparser looks for a mail address in an author by trying every start: hours for a feed of this size.
SPINS = rss(item(rest=f"<author>{'a.' * 200_000}</author>")).encode()


def run(config: NewsConfig, work: Callable[[Sandbox], Awaitable[T]]) -> T:
    async def within() -> T:
        async with Sandbox(config) as sandbox:
            return await work(sandbox)

    return asyncio.run(within())


def test_what_a_process_reads_is_what_the_function_reads() -> None:
    cases = [case.data for case in CASES if not case.refused and len(case.data) < 5000]

    async def work(sandbox: Sandbox) -> None:
        for data in cases:
            assert await sandbox.feed(JOB, data) == read_feed(JOB, data)
        with pytest.raises(BadInputError, match="HTML page"):
            await sandbox.feed(JOB, b"<html><body>502</body></html>")

    run(NewsConfig(read_processes=1), work)


def test_an_answer_that_meets_a_bug_of_ours_is_refused_alone() -> None:
    async def work(sandbox: Sandbox) -> None:
        dated = GOOD.replace(b"</item>", b"<pubDate>Tue, 03 Feb 2026 15:04:05 GMT</pubDate></item>")
        without_a_zone = FeedJob(JOB.url, dt.datetime(2026, 2, 14), languages=("ko",))
        with pytest.raises(BadInputError, match=r"parsing it failed \(TypeError"):
            await sandbox.feed(without_a_zone, dated)
        assert (await sandbox.feed(JOB, dated)).entries[0].url == LINK

    run(NewsConfig(read_processes=1), work)


def test_one_that_spins_is_stopped_and_the_others_go_on() -> None:
    async def work(sandbox: Sandbox) -> None:
        bad = asyncio.create_task(sandbox.feed(JOB, SPINS))
        good = await asyncio.gather(*(sandbox.feed(JOB, GOOD) for _ in range(20)))
        assert not bad.done()  # nothing waited for it
        assert {reading.entries[0].title for reading in good} == {TITLE}
        with pytest.raises(BadInputError, match="more than 1 s of processor time"):
            await bad
        assert (await sandbox.feed(JOB, GOOD)).entries[0].url == LINK

    run(NewsConfig(read_processes=2, read_cpu_s=1), work)


linux = pytest.mark.skipif(sys.platform != "linux", reason="what other systems limit and show differs")


@linux
def test_one_that_eats_memory_is_stopped() -> None:
    hungry = rss(item(rest="<description>x</description>" * 400_000)).encode()

    async def work(sandbox: Sandbox) -> None:
        with pytest.raises(BadInputError, match="memory"):
            await sandbox.feed(JOB, hungry)
        assert (await sandbox.feed(JOB, GOOD)).entries[0].url == LINK

    run(NewsConfig(read_processes=1, read_memory_mb=100), work)


def test_a_process_that_is_killed_is_replaced() -> None:
    async def work(sandbox: Sandbox) -> None:
        await sandbox.feed(JOB, GOOD)
        (process,) = sandbox._idle
        os.kill(process.pid, signal.SIGKILL)
        await process.wait()
        assert (await sandbox.feed(JOB, GOOD)).items == 1
        (process,) = sandbox._idle
        bad = asyncio.create_task(sandbox.feed(JOB, SPINS))
        await asyncio.sleep(0.2)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(BadInputError, match="died \\(SIGKILL\\)"):
            await bad
        assert (await sandbox.feed(JOB, GOOD)).items == 1

    run(NewsConfig(read_processes=1), work)


def test_no_process_is_left_behind() -> None:
    pids: list[int] = []

    async def work(sandbox: Sandbox) -> None:
        await sandbox.feed(JOB, GOOD)
        pids.extend(process.pid for process in sandbox._all)
        task = asyncio.create_task(sandbox.feed(JOB, SPINS))
        await asyncio.sleep(0.2)
        task.cancel()

    run(NewsConfig(read_processes=1), work)
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@linux
def test_a_child_has_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GARAM_DATABASE_URL", "postgresql://secret")
    found: list[bytes] = []

    async def work(sandbox: Sandbox) -> None:
        await sandbox.feed(JOB, GOOD)
        found.append(Path(f"/proc/{sandbox._idle[0].pid}/environ").read_bytes())

    run(NewsConfig(read_processes=1), work)
    assert b"PYTHONPATH" in found[0]
    assert b"secret" not in found[0]


def test_pages_are_read_there_too() -> None:
    body = "<p>정부가 오늘 새로운 경제 대책을 발표했다. 물가와 환율을 함께 잡겠다는 뜻이다.</p>" * 5
    page = f"<html><head><title>제목</title></head><body><article>{body}</article></body></html>"

    async def work(sandbox: Sandbox) -> None:
        assert "경제 대책을 발표했다" in await sandbox.page(PageJob("text/html; charset=euc-kr"), page.encode("cp949"))
        assert await sandbox.page(PageJob("image/png"), b"\x89PNG\r\n\x1a\n" + bytes(range(256))) == ""
        assert await sandbox.page(PageJob(), b"") == ""

    run(NewsConfig(read_processes=1), work)
