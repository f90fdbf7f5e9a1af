"""Query sets and corpora in BEIR's form: what models are judged on.

A folder holds ``queries.jsonl`` ({"_id", "text", "metadata": {"slices": [...]}}), ``qrels.tsv`` (query-id, corpus-id,
score) and either ``corpus.jsonl`` ({"_id", "title", "text"}) or ``meta.json`` naming the corpus artifact that several
sets share. Only a document's ``text`` is searched: its title is the query of somebody's set.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import BadInputError


@dataclass(frozen=True)
class Corpus:
    """Documents that are searched: ``ids[i]`` names ``texts[i]``."""

    ids: list[str]
    texts: list[str]
    titles: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.ids)

    def write(self, folder: Path) -> None:
        """Write ``corpus.jsonl``."""
        folder.mkdir(parents=True, exist_ok=True)
        titles = self.titles or [""] * len(self.ids)
        _write_jsonl(
            folder / "corpus.jsonl",
            ({"_id": i, "title": t, "text": x} for i, t, x in zip(self.ids, titles, self.texts, strict=True)),
        )

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """Read ``corpus.jsonl``; a repeated id is refused."""
        rows = list(_read_jsonl(folder / "corpus.jsonl"))
        ids = [str(row["_id"]) for row in rows]
        if len(set(ids)) != len(ids):
            raise BadInputError(f"{folder / 'corpus.jsonl'} has the same _id twice")
        return cls(ids, [row.get("text") or "" for row in rows], [row.get("title") or "" for row in rows])

    @staticmethod
    def sources(folder: Path) -> Iterator[str]:
        """Whose words ``corpus.jsonl`` holds: ids of articles, or `text_key`s where a base is built from them."""
        return (str(row["_id"]) for row in _read_jsonl(folder / "corpus.jsonl"))


@dataclass(frozen=True)
class Query:
    """A query with the documents that answer it (corpus id -> gain > 0) and the slices it belongs to."""

    id: str
    text: str
    relevant: dict[str, float]
    slices: tuple[str, ...] = ()


@dataclass(frozen=True)
class QuerySet:
    """Queries over a corpus; ``corpus`` is the corpus artifact's name, or None when the folder holds its own."""

    name: str
    queries: list[Query]
    corpus: str | None = None

    def write(self, folder: Path) -> None:
        """Write ``queries.jsonl``, ``qrels.tsv`` and ``meta.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        _write_jsonl(
            folder / "queries.jsonl",
            ({"_id": q.id, "text": q.text, "metadata": {"slices": list(q.slices)}} for q in self.queries),
        )
        with (folder / "qrels.tsv").open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
            writer.writerow(["query-id", "corpus-id", "score"])
            for query in self.queries:
                writer.writerows([query.id, doc, f"{gain:g}"] for doc, gain in sorted(query.relevant.items()))
        meta = {"name": self.name, "corpus": self.corpus}
        (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> QuerySet:
        """Read a folder in BEIR's form, ours or anybody's; queries without a judged document are left out."""
        meta: dict[str, Any] = {"name": folder.name, "corpus": None}
        if (folder / "meta.json").exists():
            meta |= json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        relevant: dict[str, dict[str, float]] = {}
        qrels = next((p for p in (folder / "qrels.tsv", folder / "qrels" / "test.tsv") if p.exists()), None)
        if qrels is None:
            raise BadInputError(f"{folder} has no qrels.tsv: a query set needs judged documents")
        with qrels.open(encoding="utf-8", newline="") as handle:
            for line, row in enumerate(csv.reader(handle, delimiter="\t"), 1):
                if line == 1 and row[-1] == "score":
                    continue
                try:
                    query_id, doc_id, gain = row[0], row[-2], float(row[-1])
                except (IndexError, ValueError) as error:
                    raise BadInputError(f"{qrels}:{line} is not query-id, corpus-id, score") from error
                if gain > 0:
                    relevant.setdefault(query_id, {})[doc_id] = gain
        queries = [
            Query(str(row["_id"]), row["text"], relevant[str(row["_id"])], _slices(row))
            for row in _read_jsonl(folder / "queries.jsonl")
            if str(row["_id"]) in relevant
        ]
        return cls(meta["name"], queries, meta["corpus"])

    def references(self) -> set[str]:
        """The name of the corpus artifact, where the set has none of its own."""
        return {self.corpus} if self.corpus else set()

    @staticmethod
    def sources(folder: Path) -> Iterator[str]:
        """Ids of the articles whose words the queries are: that of query ``t12`` (a title) is 12."""
        ids = (str(row["_id"]) for row in _read_jsonl(folder / "queries.jsonl"))
        return (id_[1:] if id_[:1] == "t" and id_[1:].isdecimal() else id_ for id_ in ids)


def _slices(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple((row.get("metadata") or {}).get("slices") or ())


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8") as handle:
            for line, text in enumerate(handle, 1):
                if text.strip():
                    row = json.loads(text)
                    if not isinstance(row, dict) or "_id" not in row:
                        raise BadInputError(f"{path}:{line} has no _id")
                    yield row
    except FileNotFoundError as error:
        raise BadInputError(f"there is no {path}") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} is not JSON lines in UTF-8: {error}") from error
