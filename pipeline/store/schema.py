"""The tables. Times are instants with zone; ``day`` is always a date in Asia/Seoul.

Order and direction follow the house: news, counts, statistics, synonyms, training sets, models, evaluations,
decisions, serving. Bulky numbers are compressed arrays (``bytea``), one row a day or a batch, never a row a word.
"""

from __future__ import annotations

import datetime as dt

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _table(name: str, *items: sa.schema.SchemaItem) -> sa.Table:
    return sa.Table(name, metadata, *items)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True)


def _time(name: str, *, nullable: bool = False, now: bool = False) -> sa.Column[dt.datetime]:
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, server_default=default)


def _text(name: str, *, nullable: bool = False, unique: bool = False, default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable, unique=unique, server_default=default)


def _int(name: str, default: int | None = 0, *, nullable: bool = False) -> sa.Column[int]:
    server = None if default is None else sa.text(str(default))
    return sa.Column(name, sa.Integer, nullable=nullable, server_default=server)


def _json(name: str, *, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, JSONB, nullable=nullable)


def _ref(name: str, to: str, *, nullable: bool = False, index: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, sa.ForeignKey(to), nullable=nullable, index=index)


# ---------------------------------------------------------------- news
feeds = _table(
    "feeds",
    _id(),
    _text("url", unique=True),
    _text("outlet"),
    _text("category", default=""),
    sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
    _time("added_at", now=True),
    _text("etag", nullable=True),
    _text("last_modified", nullable=True),
    _text("clock", default=""),  # "gmt_is_seoul" once its dates were found to be Seoul's, labelled GMT
    sa.Column("interval_s", sa.Float, nullable=False, server_default=sa.text("1800")),
    _time("next_poll_at", nullable=True),
    _int("failures"),
    _time("quarantined_until", nullable=True),
    _time("last_polled_at", nullable=True),
    _time("last_ok_at", nullable=True),
    _time("last_new_at", nullable=True),
    sa.Column("hint_s", sa.Float, nullable=False, server_default=sa.text("0")),  # how seldom it wants to be asked
    _text("disabled_why", nullable=True),  # when no person disabled it
)
feed_moves = _table(  # addresses that feeds had before they moved for good
    "feed_moves", _text("url", unique=True), _ref("feed_id", "feeds.id"), _time("moved_at", now=True)
)
payloads = _table(
    "payloads",
    _id(),
    _text("sha256", unique=True),
    _text("content_type", default=""),
    _text("codec", default="gzip"),
    sa.Column("body", sa.LargeBinary, nullable=False),
    _time("fetched_at", now=True),
)
polls = _table(
    "polls",
    _id(),
    _ref("feed_id", "feeds.id"),
    _time("started_at"),
    _time("finished_at"),
    _text("status"),  # ok, not_modified, skipped, error
    sa.Column("http_status", sa.Integer, nullable=True),
    _int("items"),
    _int("new"),
    _int("updated"),
    _int("duplicates"),
    _int("errors"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    _text("error", nullable=True),  # one sentence
    _json("item_errors", nullable=True),  # [{"item", "error"}], the first few
    _ref("payload_id", "payloads.id", nullable=True),
)
articles = _table(
    "articles",
    _id(),
    _text("url", unique=True),  # canonical
    _text("outlet", default=""),
    _text("category", default=""),
    _time("published_at"),
    sa.Column("day", sa.Date, nullable=False, index=True),
    _text("published_raw", default=""),  # what the feed said
    _text("published_rule", default="given"),  # how published_at was decided
    _time("first_seen_at"),
    _int("version", 1),  # the newest version, see article_versions
    sa.Column("story_id", sa.BigInteger, nullable=True, index=True),  # the article it retells; never changes
    sa.Column("fingerprint", sa.LargeBinary, nullable=True),  # near-duplicate signature
    sa.Column("is_ad", sa.Boolean, nullable=False, server_default=sa.false()),  # of the newest version
    _text("language", default="ko"),
    _text("source", default="feed"),  # feed, archive
    _time("removed_at", nullable=True),
    sa.Index("ix_articles_first_seen_at_id", "first_seen_at", "id"),
    sa.Index("ix_articles_dated_later", "id", postgresql_where=sa.text("published_rule = 'later'")),
)
article_versions = _table(
    "article_versions",
    sa.Column("article_id", sa.BigInteger, sa.ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    _text("title"),
    _text("text"),
    _text("content_sha256"),
    sa.Column("is_ad", sa.Boolean, nullable=False, server_default=sa.false()),
    _time("seen_at"),
)
article_feeds = _table(  # the same article in several feeds
    "article_feeds",
    sa.Column("article_id", sa.BigInteger, sa.ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("feed_id", sa.BigInteger, sa.ForeignKey("feeds.id"), primary_key=True),
    _text("guid", default=""),
    _time("seen_at"),
)
removals = _table(
    "removals",
    _text("url", unique=True),
    _text("reason", default=""),
    # Hashes of the removed texts: what artifacts call texts that they name by content, when the texts are gone.
    sa.Column("text_keys", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'")),
    _time("requested_at", now=True),
)
fingerprint_bands = _table(  # locality-sensitive index of the signatures of first tellings
    "fingerprint_bands",
    sa.Column("band", sa.SmallInteger, primary_key=True),
    sa.Column("key", sa.BigInteger, primary_key=True),
    sa.Column("article_id", sa.BigInteger, sa.ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
)
imports = _table(
    "imports",
    _text("source_sha256", unique=True),
    _text("source"),
    sa.Column("position", sa.BigInteger, nullable=False, server_default=sa.text("0")),  # rows done
    _time("known_by", nullable=True),
    _time("started_at", now=True),
    _time("finished_at", nullable=True),
    _json("report", nullable=True),
)

# ---------------------------------------------------------------- counts
counting_versions = _table(
    "counting_versions",
    _id(),
    _text("level"),  # token, word
    _text("key"),  # the vocabulary's hash, or the analyser's name and version
    _time("created_at", now=True),
    _time("ready_at", nullable=True),  # set when every article known at created_at is counted
    sa.Column("counted_to", sa.BigInteger, nullable=False, server_default=sa.text("0")),  # every article id up to it
    sa.UniqueConstraint("level", "key"),
)
count_batches = _table(
    "count_batches",
    _id(),
    _ref("version_id", "counting_versions.id", index=False),
    sa.Column("day", sa.Date, nullable=False),
    _time("counted_at"),
    _int("articles"),
    _int("stories"),
    sa.Column("terms_total", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("arrays", sa.LargeBinary, nullable=False),  # see pipeline.store.counts
    sa.Index("ix_count_batches_version_id_day_counted_at", "version_id", "day", "counted_at"),
)
counted_articles = _table(  # each article is counted once a version
    "counted_articles",
    sa.Column("version_id", sa.BigInteger, sa.ForeignKey("counting_versions.id"), primary_key=True),
    sa.Column("article_id", sa.BigInteger, sa.ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("batch_id", sa.BigInteger, sa.ForeignKey("count_batches.id"), nullable=False, index=True),
)
count_sums = _table(  # running sums over all days up to one: a shortcut that can be deleted at any time
    "count_sums",
    sa.Column("version_id", sa.BigInteger, sa.ForeignKey("counting_versions.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),  # what is summed: the decay and the windows
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("known_by", sa.DateTime(timezone=True), primary_key=True),
    sa.Column("arrays", sa.LargeBinary, nullable=False),
)
words = _table(
    "words",
    _id(),
    _ref("version_id", "counting_versions.id", index=False),
    _text("word"),
    sa.UniqueConstraint("version_id", "word"),
)

# ---------------------------------------------------------------- statistics
statistics = _table(
    "statistics",
    _id(),
    sa.Column("day", sa.Date, nullable=False, index=True),
    _time("known_by"),
    _ref("token_version_id", "counting_versions.id"),
    _ref("word_version_id", "counting_versions.id"),
    _text("config_hash"),
    _text("content_hash"),  # of every number below: equal when computed again
    _int("articles"),
    sa.Column("arrays", sa.LargeBinary, nullable=False),  # temporal, windowed and ensemble IDF by token
    _json("drift", nullable=True),
    _json("summary", nullable=True),
    _time("created_at", now=True),
    sa.UniqueConstraint("day", "known_by", "token_version_id", "word_version_id", "config_hash"),
)
trends = _table(
    "trends",
    sa.Column("statistics_id", sa.BigInteger, sa.ForeignKey("statistics.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("rank", sa.Integer, primary_key=True, autoincrement=False),
    _text("word"),
    sa.Column("z", sa.Float, nullable=False),
    sa.Column("q_value", sa.Float, nullable=False),
    sa.Column("boost", sa.Float, nullable=False, server_default=sa.text("1")),
    sa.Column("is_new", sa.Boolean, nullable=False, server_default=sa.false()),
    _json("evidence"),  # how often, since when, outlets, example titles and article ids
)
query_weights = _table(
    "query_weights",
    _id(),
    _ref("statistics_id", "statistics.id"),
    sa.Column("day", sa.Date, nullable=False, index=True),
    _text("vocabulary_hash"),
    _text("content_hash"),
    _text("artifact"),  # weights.npy (float32, V) and explain.json
    _text("status", default="candidate"),  # candidate, accepted, rejected
    _json("verdict", nullable=True),  # the smaller gate's rows
    _time("created_at", now=True),
    sa.UniqueConstraint("statistics_id", "content_hash"),
)

trend_weights = _table(
    "trend_weights",
    _id(),
    sa.Column("day", sa.Date, nullable=False, index=True),
    _time("known_by"),
    _ref("token_version_id", "counting_versions.id"),
    _ref("word_version_id", "counting_versions.id"),
    _text("config_hash"),
    _text("content_hash"),
    _text("vocabulary_hash"),
    sa.Column("gates", sa.LargeBinary, nullable=False),  # token ids and their gates
    _json("words"),  # the strongest rising words with their counts
    _text("note", default=""),
    _time("created_at", now=True),
    sa.UniqueConstraint("day", "known_by", "token_version_id", "word_version_id", "config_hash"),
)

# ---------------------------------------------------------------- synonyms
synonym_runs = _table(
    "synonym_runs",
    _id(),
    sa.Column("day", sa.Date, nullable=False, index=True),
    _time("known_by"),
    _text("model"),  # artifact whose embeddings were clustered
    _text("config_hash"),
    _text("status", default="discovered"),  # discovered, validated
    _text("embeddings", nullable=True),  # artifact: token embeddings of each window
    _text("clusters", nullable=True),  # artifact: clusters and their change
    _json("calibration", nullable=True),  # threshold and what it lets through, by random pairs
    _json("validator", nullable=True),  # who judged, and how it did on known pairs
    _time("created_at", now=True),
    sa.UniqueConstraint("day", "known_by", "model", "config_hash"),
)
synonym_pairs = _table(
    "synonym_pairs",
    sa.Column("run_id", sa.BigInteger, sa.ForeignKey("synonym_runs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("a", sa.Text, primary_key=True),
    sa.Column("b", sa.Text, primary_key=True),
    _text("source"),  # alias, cluster
    sa.Column("similarity", sa.Float, nullable=True),
    sa.Column("confidence", sa.Float, nullable=False, server_default=sa.text("0")),
    _json("evidence"),
    _text("verdict", default="pending"),  # pending, accepted, rejected
    sa.Column("verdict_score", sa.Float, nullable=True),
    _text("verdict_reason", default=""),
)
synonym_groups = _table(
    "synonym_groups",
    _id(),
    sa.Column(
        "run_id", sa.BigInteger, sa.ForeignKey("synonym_runs.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    sa.Column("words", ARRAY(sa.Text), nullable=False),
    sa.Column("confidence", sa.Float, nullable=False),
    _json("evidence"),
    sa.Column("valid_from", sa.Date, nullable=False),
    sa.Column("valid_to", sa.Date, nullable=True),
)

# ---------------------------------------------------------------- training sets and query sets
training_sets = _table(
    "training_sets",
    _id(),
    sa.Column("day", sa.Date, nullable=False, index=True),
    _time("known_by"),
    _text("recipe_hash"),
    _json("recipe"),
    _text("artifact"),
    _json("report"),
    sa.Column("query_set_ids", ARRAY(sa.BigInteger), nullable=False),  # the sets that judge what is trained on it
    _time("created_at", now=True),
    sa.UniqueConstraint("day", "known_by", "recipe_hash"),
)
query_sets = _table(
    "query_sets",
    _id(),
    _text("name"),  # fresh, anchor
    sa.Column("day", sa.Date, nullable=False),
    _time("known_by"),
    _text("artifact", unique=True),  # queries.jsonl, qrels.tsv, corpus.jsonl (BEIR)
    _json("report"),
    sa.Column("frozen", sa.Boolean, nullable=False, server_default=sa.false()),
    _time("created_at", now=True),
)

# ---------------------------------------------------------------- models, evaluations, decisions
models = _table(
    "models",
    _id(),
    _text("artifact", unique=True),
    _text("kind", default="trained"),  # base, trained
    _ref("parent_id", "models.id", nullable=True),
    _ref("training_set_id", "training_sets.id", nullable=True),
    sa.Column("day", sa.Date, nullable=True, index=True),
    _time("known_by", nullable=True),
    _text("vocabulary_hash"),
    _json("card"),
    _time("unhealthy_at", nullable=True),  # when a decision took it out of the training line
    _text("unhealthy_why", nullable=True),  # one sentence
    _time("created_at", now=True),
)
dense_vectors = _table(  # what a dense encoder made of texts, each text once
    "dense_vectors",
    _id(),
    _text("encoder"),  # the dense encoder and its windows (`Encoder.dense_identity`)
    _text("artifact", unique=True),
    sa.Column("texts", sa.Integer, nullable=False),
    _time("created_at", now=True),
    sa.Index("ix_dense_vectors_encoder", "encoder"),
)
learning_sums = _table(  # the query table's statistics of some articles of one day
    "learning_sums",
    _id(),
    _text("recipe_hash"),  # dense encoder, vocabulary, reference weights, how pseudo queries are drawn
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("article_ids", ARRAY(sa.BigInteger), nullable=False),  # sorted
    sa.Column("versions", ARRAY(sa.Integer), nullable=False),  # of these articles
    _text("artifact"),
    _time("created_at", now=True),
    sa.Index("ix_learning_sums_recipe_hash_day", "recipe_hash", "day"),
    sa.UniqueConstraint("recipe_hash", "day", "artifact"),
)
evaluations = _table(
    "evaluations",
    _id(),
    _ref("model_id", "models.id"),
    # The generation it was compared with; no foreign key, which would close a circle with decisions and generations.
    sa.Column("champion_id", sa.BigInteger, nullable=True, index=True),
    _text("config_hash"),
    _json("report"),  # metrics by query set, system and slice
    _text("artifact"),  # per-query values: what the tests of the gate are computed from
    _time("created_at", now=True),
    sa.UniqueConstraint("model_id", "champion_id", "config_hash", postgresql_nulls_not_distinct=True),
)
decisions = _table(
    "decisions",
    _id(),
    _ref("model_id", "models.id"),
    sa.Column("evaluation_id", sa.BigInteger, sa.ForeignKey("evaluations.id"), nullable=False, unique=True),
    _text("verdict"),  # promote, reject
    _text("reason"),  # one sentence
    _json("rules"),  # a row a rule: name, passed, value, bound, sentence
    _text("approval", nullable=True),  # approved, refused
    _text("approved_by", nullable=True),
    _time("created_at", now=True),
)

# ---------------------------------------------------------------- serving
generations = _table(
    "generations",
    _id(),  # NNNN of news-gNNNN
    _ref("model_id", "models.id"),
    _ref("decision_id", "decisions.id", nullable=True),
    _ref("query_weights_id", "query_weights.id", nullable=True),
    _text("index_name", unique=True),
    _text("content_hash"),
    _text("query_model", nullable=True),  # id in ML Commons
    _ref("trend_weights_id", "trend_weights.id", nullable=True),
    _text("trend_model", nullable=True),  # id in ML Commons; null: no word is lifted
    _text("status", default="building"),  # building, ready, live, retired, rolled_back, failed, deleted
    _json("settings"),
    _time("created_at", now=True),
    _time("promoted_at", nullable=True),
    sa.Index("uq_generations_live", "status", unique=True, postgresql_where=sa.text("status = 'live'")),
)
indexed_articles = _table(  # what a generation's index holds
    "indexed_articles",
    sa.Column("generation_id", sa.BigInteger, sa.ForeignKey("generations.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("article_id", sa.BigInteger, sa.ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)
deployments = _table(
    "deployments",
    _id(),
    _ref("generation_id", "generations.id"),
    _text("action"),  # promote, rebuild, rollback, weights
    _text("actor", default="loop"),
    _text("reason", default=""),
    _time("at", now=True),
    _time("done_at", nullable=True),  # null: announced, and OpenSearch is not known to have done it
)
switches = _table(  # "promotion": paused after a rollback until a person lifts it
    "switches",
    sa.Column("name", sa.Text, primary_key=True),
    _text("value"),
    _text("reason", default=""),
    _time("at", now=True),
)
