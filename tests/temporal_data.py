"""Articles put straight into the database, and a base model of a tiny vocabulary: what tests of counting start from."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from pipeline.asof import SEOUL
from pipeline.config import Config
from pipeline.context import Context
from pipeline.encoder.vocabulary import vocabulary_hash
from pipeline.store import Store, models
from pipeline.store.base import writing
from pipeline.store.schema import article_versions, articles


@dataclass(frozen=True)
class Given:
    """An article as a test gives it; ``story`` is the index (in the same call) of the article whose story it is."""

    day: dt.date
    text: str
    title: str = ""
    outlet: str = "가람일보"
    story: int | None = None


def open_context(url: str, folder: Path, config: Config | None = None) -> Context:
    """A context over this database, migrated, with artifacts in ``folder``; addresses come from nowhere else."""
    chosen = (config or Config()).model_dump()
    chosen["storage"]["artifacts"] = str(folder / "artifacts")
    context = Context(Config.model_validate(chosen))
    store = Store(url)
    store.migrate()
    context.__dict__["store"] = store  # what the cached property would hold
    return context


def put_articles(context: Context, given: Sequence[Given]) -> list[int]:
    """Enter articles as the news stage does (stamped under the clock's lock); their ids."""
    ids: list[int] = []
    with context.store.begin() as conn:
        now = writing(conn)
        taken = conn.execute(sa.select(sa.func.coalesce(sa.func.max(articles.c.id), 0))).scalar_one()
        for number, one in enumerate(given):
            published = dt.datetime.combine(one.day, dt.time(9), SEOUL)
            story = ids[one.story] if one.story is not None else None
            id_ = conn.execute(
                sa.insert(articles)
                .values(
                    url=f"https://news.example/{taken + number}",
                    outlet=one.outlet,
                    published_at=published,
                    day=one.day,
                    first_seen_at=now,
                    story_id=story,
                )
                .returning(articles.c.id)
            ).scalar_one()
            ids.append(int(id_))
        rows = [
            {
                "article_id": id_,
                "version": 1,
                "title": one.title,
                "text": one.text,
                "content_sha256": str(id_),
                "seen_at": now,
            }
            for id_, one in zip(ids, given, strict=True)
        ]
        if rows:
            conn.execute(sa.insert(article_versions), rows)
    return ids


def remove_article(context: Context, article_id: int) -> None:
    """Take an article out, as a removal request does: its text goes."""
    with context.store.begin() as conn:
        now = writing(conn)
        conn.execute(sa.update(articles).where(articles.c.id == article_id).values(removed_at=now))
        conn.execute(
            sa.update(article_versions).where(article_versions.c.article_id == article_id).values(title="", text="")
        )


def put_base(context: Context, words: Iterable[str], folder: Path) -> str:
    """A base model whose vocabulary is these words (others are [UNK]); its vocabulary's hash."""
    from tokenizers import Tokenizer
    from tokenizers import models as kinds
    from tokenizers.pre_tokenizers import Whitespace

    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *dict.fromkeys(words)]
    tokenizer = Tokenizer(kinds.WordLevel({name: id_ for id_, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.add_special_tokens(names[:5])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return put_base_folder(context, folder)


def put_base_folder(context: Context, folder: Path) -> str:
    """Register a folder with a tokenizer.json as the base model; its vocabulary's hash."""
    text = (folder / "tokenizer.json").read_text(encoding="utf-8")
    with context.artifacts.scratch() as work:
        kept = work / "base"
        kept.mkdir()
        (kept / "tokenizer.json").write_text(text, encoding="utf-8")
        (kept / "card.json").write_text(json.dumps({}), encoding="utf-8")
        name = context.artifacts.put(kept, "base")
    hashed = vocabulary_hash(text)
    with context.store.begin() as conn:
        models.register(conn, artifact=name, kind="base", vocabulary_hash=hashed, card={})
    return hashed
