"""Synonym discovery for an as-of: embeddings, clusters and labelled pairs as artifacts, candidates in the store."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict
from pathlib import Path

from pipeline.asof import AsOf
from pipeline.config.synonyms import SynonymsConfig
from pipeline.context import Context
from pipeline.encoder.folder import TRANSFORMER_MODULE
from pipeline.errors import BadInputError, RefusedError
from pipeline.hashing import content_hash
from pipeline.progress import Progress, silent
from pipeline.store import articles, models
from pipeline.store import synonyms as store
from pipeline.synonyms.candidates import RANDOM_RATE, Neighbourhood, discover_synonyms_temporal, form
from pipeline.synonyms.clusters import TemporalClusters, cluster_tokens_temporal
from pipeline.synonyms.contrast import Usage
from pipeline.synonyms.embeddings import TemporalEmbeddings, WordEncoder, choose_words, embed
from pipeline.synonyms.labelled_pairs import labelled_pairs
from pipeline.synonyms.pairs import SynonymPair
from pipeline.synonyms.validators.proof import Question
from pipeline.synonyms.windows import sample_windows, windows_of
from pipeline.text.aliases import find_aliases
from pipeline.text.words import key as analyser

_MAX_PAIRS = 2000  # stored for a run, the most confident first
_LABELLED_PAIRS = 300  # of each kind, at most: a local LLM has to score them before any candidate
RULES = 1  # increment it when the code finds other candidates: runs are identified by it
_VALIDATION = ("validator", "llm", "openai", "group_threshold")  # keys that change verdicts, not candidates


def discovery_hash(config: SynonymsConfig) -> str:
    """Hash of everything that candidates depend on, besides the articles and the model."""
    relevant = {k: v for k, v in config.model_dump(mode="json").items() if not k.startswith(_VALIDATION)}
    return content_hash({"synonyms": relevant, "analyser": analyser(), "rules": RULES})


def discover(ctx: Context, as_of: AsOf, *, progress: Progress = silent) -> int:
    """The id of the discovery run of ``as_of``; computed where it does not exist yet.

    Embeddings come from the dense encoder of the base model, so that days stay comparable while models are trained.
    Raises RefusedError without a base model, BadInputError where no article is known yet.
    """
    config = ctx.config.synonyms
    hashed = discovery_hash(config)
    with ctx.store.begin() as conn:
        base = models.base(conn)
    if base is None:
        raise RefusedError("there is no base model yet: make it first, then discover synonyms")
    with ctx.store.lock(f"garam.synonyms.{as_of.day}"):
        with ctx.store.begin() as conn:
            existing = store.find_run(conn, as_of, base.artifact, hashed)
            if existing is not None:
                return existing
            rows = list(articles.read(conn, as_of, since=as_of.day - dt.timedelta(days=config.alias_days - 1)))
        if not rows:
            raise BadInputError(f"no article of {config.alias_days} days is known {as_of}: crawl or import some first")
        model = ctx.artifacts.get(base.artifact) / TRANSFORMER_MODULE
        work = _Discovery(config, model, as_of.day, progress)
        work.read(
            [f"{a.title}\n{a.text}" for a in rows],
            [a.day for a in rows],
            [a.story_id for a in rows],
            [a.id for a in rows],
        )
        with ctx.artifacts.scratch() as folder:
            work.embeddings.write(folder / "embeddings")
            embeddings = ctx.artifacts.put(folder / "embeddings", "embeddings")
            work.write_clusters(folder / "clusters")
            clusters = ctx.artifacts.put(folder / "clusters", "clusters")
        with ctx.store.begin() as conn:
            return store.add_run(
                conn,
                as_of,
                model=base.artifact,
                config_hash=hashed,
                embeddings=embeddings,
                clusters=clusters,
                calibration=work.near.to_json(RANDOM_RATE),
                pairs=[
                    store.Pair(p.a, p.b, p.source, p.similarity, p.confidence, p.evidence)
                    for p in work.pairs[:_MAX_PAIRS]
                ],
            )


class _Discovery:
    """The steps of a discovery, and their results."""

    embeddings: TemporalEmbeddings
    clusters: TemporalClusters
    near: Neighbourhood
    pairs: list[SynonymPair]
    labelled: tuple[list[Question], list[Question]]

    def __init__(self, config: SynonymsConfig, model: Path, day: dt.date, progress: Progress) -> None:
        self.config, self.model, self.day, self.progress = config, model, day, progress

    def read(self, texts: list[str], days: list[dt.date], stories: list[int], ids: list[int]) -> None:
        """Compute embeddings, clusters, candidates and labelled pairs of the articles."""
        config = self.config
        self.progress("aliases", 0, len(texts))
        aliases = find_aliases(
            texts,
            days,
            stories=stories,
            ids=ids,
            decay_factor=config.decay_factor,
        )
        self.progress("aliases", len(texts), len(texts))
        # One article of each story: a story of ten outlets is one context, not ten.
        firsts = list({story: index for index, story in reversed(list(enumerate(stories)))}.values())[::-1]
        own, own_days = [texts[i] for i in firsts], [days[i] for i in firsts]
        samples = sample_windows(
            own,
            own_days,
            windows_of(self.day, config.window_days),
            articles=config.articles,
            decay_factor=config.decay_factor,
            progress=self.progress,
        )
        wanted = [form(word) for a in aliases for word in (a.long, a.short)][: config.words // 2]
        words = choose_words(samples, config.words, config.min_articles, wanted)
        encoder = WordEncoder(self.model)
        self.embeddings = embed(
            samples, words, encoder, contexts=config.contexts, sentences=config.sentences, progress=self.progress
        )
        self.progress("clusters", 0, 1)
        self.clusters = cluster_tokens_temporal(self.embeddings, config.method, config.n_clusters, seed=config.seed)
        self.near = Neighbourhood(self.embeddings, own_days, config.decay_factor)
        self.pairs = discover_synonyms_temporal(
            own,
            own_days,
            self.embeddings,
            config.decay_factor,
            clusters=self.clusters,
            usage=Usage(samples, words),
            near=self.near,
            aliases=aliases,
        )
        self.labelled = labelled_pairs(samples, words, self.near, aliases, limit=_LABELLED_PAIRS, seed=config.seed)
        self.progress("clusters", 1, 1)

    def write_clusters(self, folder: Path) -> None:
        """Write ``clusters.json`` and ``known.json``, the labelled pairs with their evidence."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "clusters.json").write_text(json.dumps(self.clusters.to_json(), ensure_ascii=False), encoding="utf-8")
        positive, negative = ([asdict(q) for q in side] for side in self.labelled)
        labelled = {"synonyms": positive, "others": negative}
        (folder / "known.json").write_text(json.dumps(labelled, ensure_ascii=False), encoding="utf-8")
