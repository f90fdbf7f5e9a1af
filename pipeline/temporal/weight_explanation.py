"""Explains the weight of a query token on a day: every factor of the formula, from stored data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from pipeline.artifacts.query_weights import QueryWeights
from pipeline.asof import refuse_future
from pipeline.errors import RefusedError, UsageError
from pipeline.store import models, statistics
from pipeline.text.normalise import normalise

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from pipeline.context import Context


@dataclass(frozen=True, slots=True)
class IdfPart:
    """One IDF of the ensemble: its share of the mean, and the document frequency and collection size (in stories) that
    it was computed from; both are decayed sums for the decayed IDF."""

    name: str
    share: float
    idf: float
    stories: float
    of_stories: float


@dataclass(frozen=True, slots=True)
class TokenWeight:
    """The weight of a token of ``word``: idf * boost / scale, clipped to the bounds; 0 where it is blocked.

    ``because`` are the trends that boost it ({word, boost, share}); ``sentence`` is the explanation as text.
    """

    word: str
    token: str
    id: int
    weight: float
    idf: float
    boost: float
    parts: list[IdfPart]
    because: list[dict[str, Any]]
    sentence: str


@dataclass(frozen=True, slots=True)
class ExplainedWeights:
    """The query weights of a day: their version, and explanations for the requested tokens.

    ``verdict`` is the reason given by the gate for query weights. ``scale`` is the mean of idf * boost over the
    ``in_use`` tokens; dividing by it makes the mean weight 1 on every day.
    """

    id: int
    day: dt.date
    known_by: dt.datetime
    statistics: int
    artifact: str
    content_hash: str
    status: str
    verdict: str
    scale: float
    in_use: int
    blocked: int
    boosted: int
    tokens: list[TokenWeight]


def explain_weights(
    ctx: Context, day: dt.date, words: Sequence[str] = (), known_by: dt.datetime | None = None
) -> ExplainedWeights:
    """Explain the newest query weights of ``day`` (from statistics known by ``known_by``) for the tokens of ``words``.

    A word is tokenized like a query; a token can also be given as it is in the vocabulary. Raises UsageError for a day
    in the future or without weights, RefusedError where no model with the vocabulary is left.
    """
    refuse_future(day)
    with ctx.store.begin() as conn:
        row = statistics.newest_query_weights(conn, day, known_by)
        if row is None:
            raise UsageError(f"there are no query weights of {day}: run `garam learn --day {day}`")
        learned = statistics.get(conn, row.statistics_id)
        artifacts = [m.artifact for m in models.all_models(conn) if m.vocabulary_hash == row.vocabulary_hash]
    published = QueryWeights.read(ctx.artifacts.get(row.artifact))
    weights, explained = published.weights, published.explanation
    boosted = {int(entry["id"]): entry for entry in explained["boosted"]}
    tokens = []
    if words:
        tokenizer = _tokenizer(ctx, artifacts)
        config = ctx.config.temporal
        # Old statistics do not hold these settings: the current configuration is the best guess.
        settings = {"window_days": config.window_days, "shares": config.ensemble_weights} | learned.summary
        for word in words:
            for id_ in _ids(tokenizer, word):
                name = tokenizer.id_to_token(id_) or ""
                tokens.append(
                    _explain(
                        word, name, id_, float(weights[id_]), learned.arrays, settings, explained, boosted.get(id_)
                    )
                )
    return ExplainedWeights(
        row.id,
        row.day,
        learned.as_of.known_by,
        row.statistics_id,
        row.artifact,
        row.content_hash,
        row.status,
        _verdict(row),
        explained["scale"],
        explained["in_use"],
        explained["blocked"],
        len(boosted),
        tokens,
    )


def _tokenizer(ctx: Context, artifacts: Sequence[str]) -> Tokenizer:
    from tokenizers import Tokenizer

    # Any model with the vocabulary has the tokenizer; older ones may have been pruned.
    for artifact in artifacts:
        if ctx.artifacts.has(artifact):
            return Tokenizer.from_file(str(ctx.artifacts.get(artifact) / "tokenizer.json"))
    raise RefusedError("no model with the vocabulary of these weights is left: learn that day again")


def _ids(tokenizer: Tokenizer, word: str) -> list[int]:
    word = normalise(word)
    named = tokenizer.token_to_id(word)
    if named is not None:
        return [named]
    return list(dict.fromkeys(tokenizer.encode(word, add_special_tokens=False).ids))


def _explain(
    word: str,
    token: str,
    id_: int,
    weight: float,
    arrays: Mapping[str, NDArray[Any]],
    settings: Mapping[str, Any],
    explained: Mapping[str, Any],
    boosted: Mapping[str, Any] | None,
) -> TokenWeight:
    names = ["decayed", *(f"{days} days" for days in settings["window_days"])]
    idfs = [arrays["temporal_idf"], *arrays["windowed_idf"]]
    counted = [arrays["decayed_df"], *arrays["window_df"]]
    of = [settings["decayed_stories"], *settings["window_stories"]]
    total = sum(settings["shares"])
    parts = [
        IdfPart(name, share / total, float(idf[id_]), float(df[id_]), float(n))
        for name, share, idf, df, n in zip(names, settings["shares"], idfs, counted, of, strict=True)
    ]
    idf, boost = float(arrays["ensemble_idf"][id_]), float(boosted["boost"]) if boosted else 1.0
    because = boosted["because"] if boosted else []
    sentence = _sentence(token, weight, idf, boost, parts, because, explained)
    return TokenWeight(word, token, id_, weight, idf, boost, parts, because, sentence)


def _sentence(
    token: str,
    weight: float,
    idf: float,
    boost: float,
    parts: Sequence[IdfPart],
    because: Sequence[dict[str, Any]],
    explained: Mapping[str, Any],
) -> str:
    if weight == 0:
        return f"{token} is blocked: special tokens, punctuation, hanja and unknown tokens weigh 0"
    text = f"{token} weighs {weight:.3f}: IDF {idf:.3f}"
    text += f" x boost {boost:.3f}" if because else ""
    raw, (least, most) = idf * boost / explained["scale"], explained["bounds"]
    text += f" / scale {explained['scale']:.3f}"
    if not least <= raw <= most:
        text += f", clipped to {weight:.3g}"
    text += "; IDF: " + ", ".join(_part(part) for part in parts if part.share)
    if because:
        first = because[0]
        text += f"; boosted by {first['word']} ({first['boost']:.2f}, for {first['share']:.0%} of its stories)"
    return text


def _part(part: IdfPart) -> str:
    digits = 1 if part.name == "decayed" else 0  # decayed sums are no integers
    frequency = f"in {part.stories:,.{digits}f} of {part.of_stories:,.{digits}f} stories"
    return f"{part.share:.0%} {part.name} {part.idf:.3f} ({frequency})"


def _verdict(row: statistics.QueryWeights) -> str:
    return str(row.verdict.get("reason", "")) if isinstance(row.verdict, dict) else ""
