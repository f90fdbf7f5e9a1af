"""Reading feeds and pages: articles a second, beside feedparser alone and other news readers.

    python benchmarks/news_parse.py ../shared/data/rss/replay-2026-02.tar.gz --snapshots 4
    python benchmarks/news_parse.py ... --pages 300
    PEERS/bin/python benchmarks/news_parse.py ... --pages 300       (with news-please and fundus)

The feeds are RSS files of a folder or tar of snapshots. Read by: feedparser without HTML cleaning and link resolving
(the floor: we do those ourselves), feedparser as it comes, our ``parse``, our ``read_feed`` (with canonical address,
cleaned text, decided date, language, near-duplicate signature), and the same in a reading process.

With ``--pages N`` full texts are taken from pages of our own making (a template around the feeds' texts, with the
marks by which fundus knows a page of MBN): trafilatura as we use it; fundus, whose parser is hand-made for that one
publisher; news-please, and two of the extractors whose answers it merges, newspaper4k (its Korean mode wants nltk, so
it runs as for English) and readability. The peers look for title, date and authors too, which we have from the feed.
Beside the speed stands on how many pages all of the text came out and nothing but it.

The peers are no requirements: they live in an environment of their own that sees ours behind its own packages,
``python -m venv PEERS; PEERS/bin/pip install news-please fundus 'curl_cffi<0.16'``, then the path of our
``site-packages`` in a file ``PEERS/lib/python3.*/site-packages/ours.pth``. What is not installed is left out, by name.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import importlib.util
import json
import re
import tarfile
import time
import warnings
from collections.abc import Callable
from html import escape
from pathlib import Path

import feedparser

from pipeline.config.news import NewsConfig
from pipeline.news.parse import parse
from pipeline.news.readers import Readers
from pipeline.news.reading import FeedJob, PageJob, read_feed, read_page
from pipeline.store.news import Entry

ADDRESS = "https://www.garam.example/1"
JOB = FeedJob("https://www.garam.example/rss.xml", dt.datetime(2026, 3, 1, tzinfo=dt.UTC), languages=("ko",))


def payloads(path: Path, snapshots: int) -> list[bytes]:
    """The files of the first snapshots."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        names = sorted({file.parent for file in files})[:snapshots]
        return [file.read_bytes() for file in files if file.parent in names]
    with tarfile.open(path) as tar:
        members = sorted((m for m in tar.getmembers() if m.isfile()), key=lambda m: m.name)
        folders = sorted({m.name.rpartition("/")[0] for m in members})[:snapshots]
        return [tar.extractfile(m).read() for m in members if m.name.rpartition("/")[0] in folders]  # type: ignore[union-attr]


def measure(name: str, work: Callable[[], int], floor: float = 0.0, rounds: int = 3) -> float:
    """Print the best of some rounds; items a second."""
    best = 0.0
    for _ in range(rounds):
        started = time.process_time()
        items = work()
        best = max(best, items / (time.process_time() - started))
    ratio = f"{best / floor:6.2f} x" if floor else ""
    print(f"{name:58} {best:8.0f} a second {ratio}", flush=True)
    return best


def processes(data: list[bytes]) -> tuple[float, float]:
    """Items a second of wall time: read here, and in one process that is warm."""

    async def within() -> float:
        async with Readers(NewsConfig(read_processes=1)) as readers:
            await readers.feed(JOB, data[0])
            here = there = 0.0
            for body in data:  # in turns: what else the machine does falls on both
                started = time.perf_counter()
                items = read_feed(JOB, body).items
                between = time.perf_counter()
                assert (await readers.feed(JOB, body)).items == items
                here, there = here + between - started, there + time.perf_counter() - between
            total = sum(read_feed(JOB, body).items for body in data)
            return total / here, total / there

    return asyncio.run(within())


def page(title: str, text: str) -> bytes:
    """A page as publishers make them: navigation, article, related links, footer."""
    menu = "".join(f"<li><a href='/s/{i}'>메뉴 {i}</a></li>" for i in range(40))
    related = "".join(f"<li><a href='/n/{i}'>다른 기사의 제목 {i}</a></li>" for i in range(30))
    body = "".join(f"<p>{escape(line)}</p>" for line in sentences(text))
    said = {
        "@context": "https://schema.org", "@type": "NewsArticle", "headline": title,
        "datePublished": "2026-02-03T15:04:05+09:00", "author": {"@type": "Person", "name": "홍길동"},
    }  # fmt: skip
    data = json.dumps(said, ensure_ascii=False).replace("</", "<\\/")
    return (
        f"<html><head><title>{escape(title)}</title><meta charset='utf-8'>"
        f"<script type='application/ld+json'>{data}</script></head><body><nav><ul>{menu}</ul></nav>"
        f"<article><h1>{escape(title)}</h1><div itemprop='articleBody'>{body}</div></article>"
        f"<aside><ul>{related}</ul></aside><footer>가람일보 | 무단전재 및 재배포 금지</footer></body></html>"
    ).encode()


def sentences(text: str) -> list[str]:
    """The paragraphs of such a page."""
    return [line.strip() for line in re.split(r"(?<=\.) |\n", text) if line.strip()]


def extractors() -> dict[str, Callable[[bytes], str]]:
    """Full text of a page, by who takes it; peers that are not installed are named and left out."""
    found: dict[str, Callable[[bytes], str]] = {
        "trafilatura as we use it, cleaned": lambda body: read_page(PageJob(), body)
    }
    if installed("newsplease"):
        from newsplease import NewsPlease

        found["news-please"] = lambda body: NewsPlease.from_html(body.decode(), url=ADDRESS).maintext or ""
    if installed("fundus"):
        from fundus import PublisherCollection

        parser = PublisherCollection.kr.MBN.parser(dt.date(2026, 2, 3))
        found["fundus, its parser of MBN"] = lambda body: str(parser.parse(body.decode(), "raise")["body"] or "")
    if installed("newspaper"):
        import newspaper

        def one(body: bytes) -> str:
            article = newspaper.Article(ADDRESS, language="en", fetch_images=False)
            article.download(input_html=body.decode())
            article.parse()
            return str(article.text)

        found["newspaper4k (one of news-please's)"] = one
    if installed("readability"):
        from readability import Document

        found["readability-lxml (another; keeps HTML)"] = lambda body: str(Document(body.decode()).summary())
    return found


def installed(name: str) -> bool:
    """Whether a peer is there; says so when not."""
    there = importlib.util.find_spec(name) is not None
    if not there:
        print(f"{name} is not installed")
    return there


def pages(data: list[bytes], count: int) -> None:
    """Full text from pages."""
    entries = [entry for body in data for entry in read_feed(JOB, body).entries]
    by_url = {entry.url: entry for entry in entries}.values()
    chosen = sorted(by_url, key=lambda e: -len(e.text))[:count]
    made = [page(e.title, e.text) for e in chosen]
    print(f"\n{len(made)} pages of {sum(map(len, made)) / len(made) / 1000:.0f} kB")
    floor = 0.0
    for name, extract in extractors().items():
        whole = sum(_exactly(extract(body), entry) for body, entry in zip(made, chosen, strict=True))
        rate = measure(name, lambda extract=extract: sum(len(extract(body)) >= 0 for body in made), floor)  # type: ignore[misc]
        print(f"{'':58} {whole} of {len(made)} pages all text and nothing but it")
        floor = floor or rate


def _exactly(text: str, entry: Entry) -> bool:
    plain = re.sub(r"<[^<>]*>", " ", text)
    whole = all(re.sub(r"\W", "", line) in re.sub(r"\W", "", plain) for line in sentences(entry.text))
    return whole and not any(mark in plain for mark in ("메뉴 1", "다른 기사의 제목", "무단전재"))


def main() -> None:
    """Print the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snapshots_file", type=Path)
    parser.add_argument("--snapshots", type=int, default=4)
    parser.add_argument("--pages", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    data = payloads(options.snapshots_file, options.snapshots)
    print(f"{len(data)} payloads, {sum(map(len, data)) / 1e6:.1f} MB; processor time, best of 3; ratio to the floor")

    def alone(**options: bool) -> int:
        return sum(len(feedparser.parse(body, **options).entries) for body in data)

    floor = measure(
        "feedparser, no cleaning, links as they are (floor)",
        lambda: alone(sanitize_html=False, resolve_relative_uris=False),
    )
    measure("feedparser as it comes (cleans HTML, resolves links)", alone, floor)
    measure("our parse", lambda: sum(len(parse(body, url=JOB.url).items) for body in data), floor)
    measure("our read_feed (ready to be stored)", lambda: sum(read_feed(JOB, body).items for body in data), floor)
    here, there = processes(data)
    print(f"wall time: read_feed here {here:.0f} a second, in a reading process {there:.0f} ({there / here:.2f} x)")
    if options.pages:
        pages(data, options.pages)


if __name__ == "__main__":
    main()
