"""Query models: a tokenizer and a table of weights that ML Commons turns plain text into a sparse query with.

A query model is a ``SPARSE_TOKENIZE`` model: a zip of ``tokenizer.json`` and ``idf.json``. New query weights are a new
model and a changed search pipeline: no document is indexed again. A model's name carries the hash of its content, so
that the same one is registered once, and whoever was killed in between finds what is there.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import BadInputError, RefusedError, UnavailableError
from pipeline.search.cluster import Cluster, ClusterError

MAX_WEIGHT = 64.0
"""Largest weight of a query token (Lucene's FeatureField)."""
NO_WEIGHT = 1e-9
"""Weight that is listed for a token that must not count: a query may not hold zero, and ML Commons gives 1 to what is
not listed. `package` has such tokens dropped; where it cannot, one adds less than the precision of a score."""
CHUNK_BYTES = 10_000_000
GROUP = "garam"
SETTINGS = {"plugins.ml_commons.allow_registering_model_via_local_file": "true"}
_MODELS = "/_plugins/_ml/models"
_READY_S = 120.0
_ATTEMPTS = 5  # to deploy a query model before it counts as impossible


@dataclass(frozen=True)
class QueryModel:
    """A query model in the cluster: its id, name, state (DEPLOYED ...) and when it was registered (epoch seconds)."""

    id: str
    name: str
    state: str
    created_s: float


def package(
    model_folder: Path,
    query_weights: NDArray[np.float32] | None = None,
    gates: NDArray[np.float32] | None = None,
) -> bytes:
    """The zip of a model folder's ``tokenizer.json`` and its weights by token, the same bytes every time.

    ``query_weights`` (V,) in [0, 64] replaces the folder's own ``idf.json``; its order is the tokenizer's ids. Every
    token is listed; those of weight 0 are dropped from queries. ``gates`` (V,) in [0, 1] multiply the weights. Raises
    BadInputError where the folder has no such files or a weight cannot be served.
    """
    try:
        spec = json.loads((model_folder / "tokenizer.json").read_text("utf-8"))
        own: dict[str, float] = json.loads((model_folder / "idf.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"{model_folder} has no readable tokenizer.json and idf.json: save the encoder again"
        ) from error
    tokens = list(own)  # in the order of their ids
    weights = np.fromiter(own.values(), np.float32) if query_weights is None else np.asarray(query_weights, np.float32)
    if weights.shape != (len(tokens),):
        raise BadInputError(f"{len(weights)} query weights do not fit a vocabulary of {len(tokens)} tokens")
    if gates is not None:
        weights = weights * gates
    if not np.isfinite(weights).all() or (weights < 0).any() or (weights > MAX_WEIGHT).any():
        raise BadInputError(f"query weights must be numbers from 0 to {MAX_WEIGHT:g}: OpenSearch refuses others")
    spec["padding"] = None
    spec["truncation"] = _truncation(model_folder, spec)
    _drop(spec, [token for token, weight in zip(tokens, weights.tolist(), strict=True) if not weight])
    table = {
        token: float(f"{weight:.9g}") if weight > 0 else NO_WEIGHT
        for token, weight in zip(tokens, weights.tolist(), strict=True)
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, value in (("idf.json", table), ("tokenizer.json", spec)):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))  # no clock in the bytes
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, json.dumps(value, ensure_ascii=False, separators=(",", ":")))
    return buffer.getvalue()


def _drop(spec: dict[str, Any], tokens: list[str]) -> None:
    """Have queries lose these tokens: as WordPiece finds them, they get a special token's id, which ML Commons drops.

    So a token without weight costs no time, and trend weights, which most tokens have none of, cost next to nothing
    where nothing is a trend. The cut of a text into tokens stays. Other tokenizers than WordPiece keep their tokens,
    whose weight is then `NO_WEIGHT`.
    """
    added = {token["content"]: token for token in spec.get("added_tokens", [])}
    special = [token["id"] for token in added.values() if token["special"]]
    if special and spec["model"].get("type") == "WordPiece":
        spec["model"]["vocab"] |= {token: special[0] for token in tokens if token not in added}


def _truncation(model_folder: Path, spec: dict[str, Any]) -> dict[str, Any] | None:
    """Cut queries where the encoder does: ML Commons counts the special tokens, which it drops afterwards."""
    from tokenizers import Tokenizer

    try:
        length = int(json.loads((model_folder / "garam.json").read_text("utf-8"))["max_length"])
    except (OSError, ValueError, KeyError):
        return None  # a folder from elsewhere: ML Commons cuts at 512
    special = Tokenizer.from_str(json.dumps(spec)).num_special_tokens_to_add(False)
    return {"direction": "Right", "max_length": length + special, "strategy": "LongestFirst", "stride": 0}


def content_name(prefix: str, content: bytes) -> str:
    """The name of the query model with that content."""
    return f"{prefix}-{hashlib.sha256(content).hexdigest()[:16]}"


def ensure(cluster: Cluster, prefix: str, content: bytes) -> str:
    """The id of a deployed query model with this content under ``prefix``, registered and deployed when needed.

    Idempotent: a model that is there is used, one that was left half uploaded is removed. Raises RefusedError where the
    nodes hold as many models as they may.
    """
    name = content_name(prefix, content)
    found = [model for model in models(cluster, prefix) if model.name == name]
    usable = [model for model in found if model.state not in ("REGISTERING", "DEPLOY_FAILED")]
    for model in found:
        if model not in usable[:1]:
            remove(cluster, model.id)
    model_id = usable[0].id if usable else _register(cluster, name, content)
    _deploy(cluster, model_id)
    return model_id


def models(cluster: Cluster, prefix: str) -> list[QueryModel]:
    """Query models whose name is ``<prefix>-...``, oldest first."""
    answer = _search(cluster, {"prefix": {"name.keyword": f"{prefix}-"}}, ["name", "model_state", "created_time"])
    found = [
        QueryModel(
            hit["_id"],
            hit["_source"]["name"],
            hit["_source"].get("model_state", ""),
            hit["_source"].get("created_time", 0) / 1000,
        )
        for hit in answer
    ]
    return sorted(found, key=lambda model: (model.created_s, model.id))


def remove(cluster: Cluster, model_id: str) -> None:
    """Undeploy and delete a model; one that is not there is fine."""
    end = time.monotonic() + _READY_S
    while True:
        cluster.call("POST", f"{_MODELS}/{model_id}/_undeploy", {}, missing_ok=True)
        try:
            cluster.call("DELETE", f"{_MODELS}/{model_id}", missing_ok=True)
            return
        except ClusterError as error:
            # "Model cannot be deleted in deploying or deployed state": the undeploying takes a moment.
            if "deploy" not in error.reason or time.monotonic() > end:
                raise
            time.sleep(0.2)


def loaded(cluster: Cluster) -> set[str]:
    """Ids of the models that some node holds and can run."""
    nodes = cluster.call("GET", "/_plugins/_ml/profile/models", timeout_s=15).get("nodes", {})
    return {
        model
        for node in nodes.values()
        for model, said in node.get("models", {}).items()
        if said.get("model_state") == "DEPLOYED"
    }


def predict(cluster: Cluster, model_id: str, texts: list[str]) -> list[dict[str, float]]:
    """Tokens and weights that a query model makes of each text, as it does in a search."""
    answer = cluster.call(
        "POST", f"/_plugins/_ml/_predict/SPARSE_TOKENIZE/{model_id}", {"text_docs": texts, "return_number": False}
    )
    rows: list[dict[str, float]] = []
    for result in answer["inference_results"]:
        for output in result["output"]:
            rows += output["dataAsMap"]["response"]
    return rows


def _search(cluster: Cluster, query: dict[str, Any], fields: list[str]) -> list[dict[str, Any]]:
    body = {
        "size": 1000,
        "_source": fields,
        "query": {"bool": {"filter": [query], "must_not": [{"exists": {"field": "chunk_number"}}]}},
    }
    # 404: nobody has registered a model yet.
    answer = cluster.call("POST", f"{_MODELS}/_search", body, missing_ok=True)
    hits: list[dict[str, Any]] = answer["hits"]["hits"] if answer else []
    return hits


def _register(cluster: Cluster, name: str, content: bytes) -> str:
    _allow(cluster)
    chunks = [content[start : start + CHUNK_BYTES] for start in range(0, len(content), CHUNK_BYTES)]
    answer = cluster.call(
        "POST",
        f"{_MODELS}/_register_meta",
        {
            "name": name,
            "version": "1",
            "description": "Query tokens and their weights, kept by Garam",
            "model_group_id": _group(cluster),
            "model_format": "TORCH_SCRIPT",
            "function_name": "SPARSE_TOKENIZE",
            "model_content_hash_value": hashlib.sha256(content).hexdigest(),
            "model_content_size_in_bytes": len(content),
            "total_chunks": len(chunks),
        },
    )
    model_id = str(answer["model_id"])
    for number, chunk in enumerate(chunks):
        cluster.call("POST", f"{_MODELS}/{model_id}/upload_chunk/{number}", chunk)
    return model_id


def _deploy(cluster: Cluster, model_id: str) -> None:
    end = time.monotonic() + _READY_S
    attempts = 0
    while model_id not in loaded(cluster):
        model = cluster.call("GET", f"{_MODELS}/{model_id}")
        state = model.get("model_state")
        if state == "DEPLOY_FAILED" and attempts >= _ATTEMPTS:
            raise UnavailableError(f"OpenSearch could not deploy query model {model_id}: look at its log")
        if attempts == 0 or (state not in ("DEPLOYING", "DEPLOYED", "PARTIALLY_DEPLOYED")):
            if attempts:  # a busy node fails now and then, and the state may still be that of the last attempt
                time.sleep(1.0)
            attempts += 1
            try:
                cluster.call("POST", f"{_MODELS}/{model_id}/_deploy", {})
            except ClusterError as error:
                if "Exceed max" in error.reason or "max model" in error.reason.lower():
                    raise RefusedError(
                        f"OpenSearch's nodes hold as many models as they may ({error.reason}): `garam prune` removes "
                        "unused ones, or raise plugins.ml_commons.max_model_on_node"
                    ) from error
                raise
        if time.monotonic() > end:
            raise UnavailableError(f"query model {model_id} was not deployed after {_READY_S:g} s ({state})")
        time.sleep(0.1)


def _group(cluster: Cluster) -> str:
    for _ in range(2):
        body = {"size": 1, "query": {"term": {"name.keyword": GROUP}}}
        answer = cluster.call("POST", "/_plugins/_ml/model_groups/_search", body, missing_ok=True)
        if answer and answer["hits"]["hits"]:
            return str(answer["hits"]["hits"][0]["_id"])
        try:
            made = cluster.call(
                "POST", "/_plugins/_ml/model_groups/_register", {"name": GROUP, "description": "Garam's query models"}
            )
            return str(made["model_group_id"])
        except ClusterError as error:
            # Somebody registered it between the look and the call.
            if "already being used" not in error.reason:
                raise
            time.sleep(1)
    raise UnavailableError(f"the model group {GROUP} of OpenSearch cannot be found: try again")


def _allow(cluster: Cluster) -> None:
    """Let models be registered from our bytes, and run where no node has the ml role: set only when it is not so."""
    answer = cluster.call("GET", "/_cluster/settings", params={"include_defaults": "true", "flat_settings": "true"})
    held = {**answer.get("defaults", {}), **answer.get("persistent", {}), **answer.get("transient", {})}
    roles = cluster.call("GET", "/_nodes", params={"filter_path": "nodes.*.roles"})["nodes"].values()
    wanted = dict(SETTINGS)
    if not any("ml" in node["roles"] for node in roles):
        wanted["plugins.ml_commons.only_run_on_ml_node"] = "false"
    lacking = {key: value for key, value in wanted.items() if str(held.get(key, "")).lower() != value}
    if lacking:
        cluster.call("PUT", "/_cluster/settings", {"persistent": lacking})
