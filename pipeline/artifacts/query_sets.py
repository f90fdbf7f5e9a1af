"""Query sets and corpora in BEIR's form: what models are judged on.

A folder holds ``queries.jsonl`` ({"_id", "text", "metadata": {"slices": [...]}}), ``qrels.tsv`` (query-id, corpus-id,
score) and either ``corpus.jsonl`` ({"_id", "title", "text"}) or ``meta.json`` naming the corpus artifact that several
sets share. Only a document's ``text`` is searched: its title is the query of somebody's set.
"""

from __future__ import annotations

import csv
import json
import math
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
        rows: dict[str, tuple[str, str]] = {}
        for place, row in _read_jsonl(folder / "corpus.jsonl"):
            if (id_ := str(row["_id"])) in rows:
                raise BadInputError(f"{place} has the same _id twice: {id_}")
            rows[id_] = (_string(place, row, "text"), _string(place, row, "title"))
        return cls(list(rows), [text for text, _ in rows.values()], [title for _, title in rows.values()])

    @staticmethod
    def sources(folder: Path) -> Iterator[str]:
        """Whose words ``corpus.jsonl`` holds: ids of articles, or `text_key`s where a base is built from them."""
        return (str(row["_id"]) for _, row in _read_jsonl(folder / "corpus.jsonl"))


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
        for line, text in enumerate(read_lines(qrels), 1):
            row = [
                cell.strip() for cell in (next(csv.reader([text], delimiter="\t")) if "\t" in text else text.split())
            ]
            if not any(row) or (line == 1 and row[-1].lower() == "score"):
                continue
            if len(row) not in (3, 4):  # TREC's has a column of zeros
                raise BadInputError(f"{qrels}:{line} is not query-id, corpus-id, score")
            if (gain := read_gain(f"{qrels}:{line}", row[-1])) > 0:
                relevant.setdefault(row[0], {})[row[-2]] = gain
        queries: dict[str, Query] = {}
        for place, fields in _read_jsonl(folder / "queries.jsonl"):
            if (id_ := str(fields["_id"])) in queries:
                raise BadInputError(f"{place} has the same _id twice: {id_}")
            if id_ in relevant:
                words = _string(place, fields, "text")
                if not words.strip():
                    raise BadInputError(f"{place} is a judged query without text: {id_}")
                queries[id_] = Query(id_, words, relevant[id_], _slices(fields))
        return cls(meta["name"], list(queries.values()), meta["corpus"])

    def references(self) -> set[str]:
        """The name of the corpus artifact, where the set has none of its own."""
        return {self.corpus} if self.corpus else set()

    @staticmethod
    def sources(folder: Path) -> Iterator[str]:
        """Ids of the articles whose words the queries are: that of query ``t12`` (a title) is 12."""
        ids = (str(row["_id"]) for _, row in _read_jsonl(folder / "queries.jsonl"))
        return (id_[1:] if id_[:1] == "t" and id_[1:].isdecimal() else id_ for id_ in ids)


def _slices(row: dict[str, Any]) -> tuple[str, ...]:
    metadata = row.get("metadata")
    slices = metadata.get("slices") if isinstance(metadata, dict) else None
    return tuple(map(str, slices)) if isinstance(slices, list) else ()


def _write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8, with or without byte order mark, whatever ends them (LF, CRLF, CR)."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # universal newlines: no other character ends a line
    except FileNotFoundError as error:
        raise BadInputError(f"there is no {path}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInputError(f"{path} cannot be read as text in UTF-8: {error}") from error
    return text.split("\n")


def read_gain(place: str, text: str) -> float:
    """The grade of a judgment at ``place`` (file and line), a finite number; BadInputError for anything else."""
    try:
        gain = float(text)
    except ValueError:
        gain = math.nan
    if not math.isfinite(gain):
        raise BadInputError(f"{place} has the score {text!r}, which is no finite number")
    return gain


def _string(place: str, row: dict[str, Any], name: str) -> str:
    """A text field; none is empty, a number is its digits."""
    value = row.get(name)
    if isinstance(value, float) and math.isnan(value):
        value = None  # pandas writes missing texts so
    if isinstance(value, (bool, list, dict)):
        raise BadInputError(f"{place} has a {name} that is no text: {json.dumps(value, ensure_ascii=False)[:40]}")
    return "" if value is None else str(value)


def _read_jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row with its place (file and line); blank lines are skipped."""
    for line, text in enumerate(read_lines(path), 1):
        if not text.strip():
            continue
        place = f"{path}:{line}"
        try:
            row = json.loads(text)
        except ValueError as error:
            raise BadInputError(f"{place} is not JSON lines, one object in each: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("_id"), (str, int)) or not str(row["_id"]).strip():
            raise BadInputError(f"{place} has no _id")
        yield place, row
