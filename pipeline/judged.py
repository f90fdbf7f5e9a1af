"""The user's own judged queries: folders in BEIR or TREC form.

BEIR: ``queries.jsonl``, ``qrels.tsv`` (or ``qrels/test.tsv``), and ``corpus.jsonl`` when the set has its own
documents.
TREC: topics in ``topics.tsv`` (query-id, text) or ``topics.txt`` (``<top> <num> <title>``), judgments in ``qrels.txt``
(query-id, 0, document, grade). A folder without a corpus judges our own articles: it names them by URL or article id.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.artifacts import file_sha256
from pipeline.artifacts.query_sets import Corpus, Query, QuerySet, read_gain, read_lines
from pipeline.config import Config
from pipeline.errors import BadInputError, UsageError
from pipeline.text.normalise import clean_title, normalise

_TOPIC = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+).*?<title>\s*(?:Topic:)?\s*([^<]+)", re.DOTALL | re.IGNORECASE)


def judged_folders(config: Config) -> list[Path]:
    """The folders that ``evaluation.judged`` names; UsageError where one does not exist."""
    folders = [Path(folder) for folder in config.evaluation.judged]
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"evaluation.judged names {folder}, which is no folder")
    return folders


def judged_files(config: Config) -> list[tuple[str, str]]:
    """(path, SHA-256) of every file of the judged sets: changes when a judgment does."""
    files = (path for folder in judged_folders(config) for path in sorted(folder.rglob("*")) if path.is_file())
    return [(str(path), file_sha256(path)) for path in files]


def read_judged(folder: Path) -> tuple[QuerySet, Corpus | None]:
    """The queries of a folder, and its corpus if it has one; UsageError or BadInputError say what is wrong."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder of judged queries")
    queries = QuerySet.read(folder) if (folder / "queries.jsonl").exists() else _read_trec(folder)
    corpus = Corpus.read(folder) if (folder / "corpus.jsonl").exists() else None
    if corpus is not None:
        # As BEIR searches them, in the form that our own articles are kept in.
        pairs = zip(corpus.titles, corpus.texts, strict=True)
        corpus = replace(corpus, texts=[normalise(f"{title}\n{text}") for title, text in pairs])
        if not any(corpus.texts):
            raise BadInputError(f"{folder / 'corpus.jsonl'} has no document with a title or a text")
        if queries.queries and set(corpus.ids).isdisjoint(d for query in queries.queries for d in query.relevant):
            raise BadInputError(f"{folder} judges documents that its corpus.jsonl does not have: compare the ids")
    if not queries.queries:
        raise BadInputError(f"{folder} has no query with a relevant document")
    return replace(queries, queries=[replace(query, text=clean_title(query.text)) for query in queries.queries]), corpus


def _read_trec(folder: Path) -> QuerySet:
    topics = next((folder / name for name in ("topics.tsv", "topics.txt") if (folder / name).exists()), None)
    qrels = next((folder / name for name in ("qrels.txt", "qrels") if (folder / name).is_file()), None)
    if topics is None or qrels is None:
        raise BadInputError(
            f"{folder} has neither queries.jsonl (BEIR) nor topics.tsv or topics.txt with qrels.txt (TREC)"
        )
    relevant: dict[str, dict[str, float]] = {}
    for line, row in enumerate(read_lines(qrels), 1):
        parts = row.split()
        if not parts:
            continue
        if len(parts) != 4:
            raise BadInputError(f"{qrels}:{line} is not query-id, 0, document, grade")
        if (gain := read_gain(f"{qrels}:{line}", parts[3])) > 0:
            relevant.setdefault(parts[0], {})[parts[2]] = gain
    lines = read_lines(topics)
    if topics.suffix == ".tsv":
        rows = [(f"{topics}:{n}", *line.split("\t", 1)) for n, line in enumerate(lines, 1) if "\t" in line]
    else:
        rows = [(str(topics), number, title) for number, title in _TOPIC.findall("\n".join(lines))]
    queries: dict[str, Query] = {}
    for place, id_, text in ((place, id_.strip(), text.strip()) for place, id_, text in rows):
        if id_ in queries:
            raise BadInputError(f"{place} has the query {id_} twice")
        if id_ in relevant:
            if not text:
                raise BadInputError(f"{place} is a judged query without text: {id_}")
            queries[id_] = Query(id_, text, relevant[id_])
    return QuerySet(folder.name, list(queries.values()))


def over_articles(queries: QuerySet, corpus: Corpus, id_of_url: Mapping[str, str]) -> QuerySet:
    """Judgments of our articles in terms of a corpus: URLs become ids, and what the corpus lacks is left out.

    A judged article that is not searched today (it is older than the corpus) says nothing about the model.
    """
    held = set(corpus.ids)
    kept = []
    for query in queries.queries:
        named = {id_of_url.get(document, document): gain for document, gain in query.relevant.items()}
        here = {document: gain for document, gain in named.items() if document in held}
        if here:
            kept.append(replace(query, relevant=here))
    return replace(queries, queries=kept)
