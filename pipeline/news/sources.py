"""Archives as streams of rows: JSONL, CSV, Parquet, Hugging Face data sets, the packaged speeches."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.errors import BadInputError, UsageError
from pipeline.news import speeches
from pipeline.news.markup import to_text
from pipeline.news.parse import Item

FORMATS = ("jsonl", "csv", "parquet")

# Names that the same column has in the data sets we met, the best first.
ALIASES = {
    "url": ("url", "link", "source_url", "news_url", "href", "originallink"),
    "title": ("title", "headline", "news_title", "subject"),
    "text": ("text", "body", "content", "contents", "article", "document", "news_text", "summary", "description"),
    "published": ("published_at", "date", "published", "pubDate", "pub_date", "datetime", "created_at", "time"),
    "category": ("category", "section", "topic", "label_text"),
    "outlet": ("outlet", "source", "publisher", "press", "media"),
    "id": ("id", "guid", "_id"),
    "first_seen": ("first_seen_at", "first_seen"),
}

Row = tuple[int, list[Item], str]  # (rows done with this one, its articles, what is wrong with it)


@dataclass(frozen=True)
class Source:
    """An archive. ``identity`` changes when its content does; ``rows`` streams from a row number on."""

    name: str
    identity: str
    rows: Callable[[int], Iterator[Row]]
    total: int = 0  # rows, 0 when unknown


def open_source(
    source: str | Path, format: str | None = None, *, since: dt.date | None = None, until: dt.date | None = None
) -> Source:
    """The archive of a file or of ``hf:NAME``; UsageError says what is wrong with it.

    ``since`` and ``until`` (days in Seoul) spare a source the work on rows that are certainly outside; its row
    numbers stay the same, and the reader still has to look at the days of what comes.
    """
    name = str(source)
    if name.startswith("hf:"):
        return _packaged(since, until) if name == f"hf:{speeches.PACKAGE}" else _hugging_face(name)
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"there is no file {path}: give a JSONL, CSV or Parquet file, or hf:NAME")
    kind = format or _guess(path)
    if kind not in FORMATS:
        raise UsageError(f"the format {kind!r} is not known: it is one of {', '.join(FORMATS)}")
    reader = {"jsonl": _jsonl, "csv": _csv, "parquet": _parquet}[kind]
    return Source(name, f"{kind}:{_sha256(path)}", lambda start: _items(reader(path, start), start))


def first_seen(row: dict[str, Any]) -> str:
    """When an archive says that it first had a row; empty when it does not."""
    return str(_get(row, "first_seen") or "")


def _guess(path: Path) -> str:
    suffixes = [s.lower().lstrip(".") for s in path.suffixes if s.lower() not in {".gz"}]
    kind = {"json": "jsonl", "ndjson": "jsonl", "pq": "parquet", "tsv": "csv"}.get(
        suffixes[-1] if suffixes else "", suffixes[-1] if suffixes else ""
    )
    if kind not in FORMATS:
        raise UsageError(f"the format of {path} cannot be told from its name: say --format {'|'.join(FORMATS)}")
    return kind


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> IO[str]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    if packed:
        return io.TextIOWrapper(gzip.open(path, "rb"), encoding="utf-8-sig", errors="replace", newline="")
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _jsonl(path: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, str]]:
    with _open(path) as file:
        try:
            for number, line in enumerate(file):
                if number < start:
                    continue
                yield _json_row(line, number + 1)
        except (EOFError, OSError) as error:
            raise BadInputError(f"{path} is damaged: {error}") from error


def _json_row(line: str, number: int) -> tuple[dict[str, Any] | None, str]:
    if not line.strip():
        return None, ""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return None, f"line {number} is not JSON ({str(error)[:100]})"
    return (row, "") if isinstance(row, dict) else (None, f"line {number} is not a JSON object")


def _csv(path: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, str]]:
    csv.field_size_limit(min(sys.maxsize, 50_000_000))
    with _open(path) as file:
        reader = csv.DictReader(file, delimiter="\t" if ".tsv" in path.name else ",")
        try:
            for number, row in enumerate(reader):
                if number >= start:
                    yield {k: v for k, v in row.items() if k is not None}, ""
        except (csv.Error, EOFError, OSError) as error:
            raise BadInputError(f"{path} is damaged at line {reader.line_num}: {error}") from error


def _parquet(path: Path, start: int) -> Iterator[tuple[dict[str, Any] | None, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            done = 0
            for batch in file.iter_batches(batch_size=1000):
                if done + batch.num_rows > start:
                    yield from ((row, "") for row in batch.slice(max(0, start - done)).to_pylist())
                done += batch.num_rows
    except (pa.ArrowException, OSError) as error:  # its reader of pages says with an OSError that they are damaged
        raise BadInputError(f"{path} is damaged, or is no Parquet file: {str(error)[:150]}") from error


def _items(rows: Iterator[tuple[dict[str, Any] | None, str]], start: int) -> Iterator[Row]:
    for number, (row, error) in enumerate(rows, start + 1):
        if row is None:
            yield number, [], error
            continue
        try:
            yield number, [item(row)], ""
        except ValueError as problem:
            yield number, [], f"row {number}: {problem}"


def item(row: dict[str, Any]) -> Item:
    """A row of an archive as an item; ValueError when it has no date or no words.

    A row without an address gets one that cannot be mistaken for a real one (``.invalid``, RFC 2606), from its
    content, so that it is the same on every import.
    """
    title, text, published = (_text(_get(row, name)) for name in ("title", "text", "published"))
    if not title and not text:
        raise ValueError("it has neither a title nor a text")
    if not published:
        raise ValueError("it has no date")
    outlet, url = _text(_get(row, "outlet")), _text(_get(row, "url"))
    if not url.lower().startswith(("http://", "https://")):
        key = hashlib.sha256(f"{published}\n{title}\n{text}".encode()).hexdigest()[:32]
        url = f"https://archive.invalid/{key}"
    return Item(
        url,
        to_text(title, markup_from=1),  # an archive does not say what is markup
        to_text(text, markup_from=1),
        published,
        _text(_get(row, "id")),
        _text(_get(row, "category")),
        outlet,
        first_seen=first_seen(row),
    )


def _get(row: dict[str, Any], column: str) -> Any:
    return next((row[name] for name in ALIASES[column] if row.get(name) not in (None, "")), None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if isinstance(value, list):
        return "\n".join(str(v) for v in value)
    return str(value)


def _packaged(since: dt.date | None, until: dt.date | None) -> Source:
    def rows(start: int) -> Iterator[Row]:
        for number, row in enumerate(speeches.read_speeches(start), start + 1):
            day = speeches.day_of_speech(row)
            if day and ((since and day < since) or (until and day > until)):
                yield number, [], ""
                continue
            found = list(speeches.articles(row))
            error = "" if found else f"speech {row['division_number']} names no day ({row['date']!r})"
            yield number, found, error

    return Source(f"hf:{speeches.PACKAGE}", f"speeches-1:{_sha256(speeches.table_path())}", rows, 8771)


def _hugging_face(name: str) -> Source:
    """``hf:OWNER/NAME[/CONFIG][@REVISION][#SPLIT]`` through the ``datasets`` library, streamed."""
    try:
        import datasets
    except ImportError as error:
        raise UsageError(f"{name} needs the package datasets: install it, or import a file") from error
    head, _, split = name.removeprefix("hf:").partition("#")
    path, _, revision = head.partition("@")
    parts = path.split("/")
    repository, config = "/".join(parts[:2]), "/".join(parts[2:]) or None
    if not all(parts):
        raise UsageError(f"{name!r} names no data set: write hf:OWNER/NAME")
    split = split or "train"
    try:
        builder = datasets.load_dataset_builder(repository, config, revision=revision or None)
        files = builder.config.data_files
        lines = builder.name == "json" and files is not None
        if lines:
            # Its reader of JSON turns dates into UTC and drops the zone, so only its lines are taken from it.
            data = datasets.load_dataset("text", data_files=files, split=split, streaming=True)
        else:
            data = datasets.load_dataset(repository, config, split=split, streaming=True, revision=revision or None)
        first = next(iter(data), None)
    except Exception as error:  # the library raises whatever its hub client, parsers and loaders do
        reason = " ".join(str(error).split())[:150] or type(error).__name__
        raise UsageError(
            f"the data set {name} cannot be had from its hub ({reason}): check the name and network, or import a file"
        ) from error
    if lines and first is not None and not first["text"].lstrip().startswith("{"):
        raise UsageError(f"the JSON of {name} is not one object a line: make JSON Lines of it and import that file")
    # The revision of a hub's files, the time of local ones: what was imported is told from what came later.
    state = getattr(files.get(split), "origin_metadata", "") if files else ""
    identity = hashlib.sha256(f"{state!r}\n{first!r}".encode()).hexdigest()

    def rows(start: int) -> Iterator[tuple[dict[str, Any] | None, str]]:
        for number, row in enumerate(data.skip(start), start + 1):
            yield _json_row(row["text"], number) if lines else (dict(row), "")

    return Source(name, f"{name}:{identity}", lambda start: _items(rows(start), start))
