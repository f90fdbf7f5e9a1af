"""An encoder's folder: read with checks, written in one piece.

At its root lie the queries' tokenizer (``tokenizer.json``) and their weights by token (``idf.json``, every token
written: one that is missing would weigh 1 in ml-commons and 0 in sentence-transformers). ``document_0_Transformer`` is
the dense encoder, a transformers model with a tokenizer of its own; ``table.safetensors`` the query table. The folder
is a sentence-transformers ``SparseEncoder`` as well: a Router whose document route is transformer, pooling,
normalisation and a dense layer with ReLU, and whose query route is a ``SparseStaticEmbedding``; it gives the learned
terms of a text of one window, without the lexical floor and without the cut. ``garam.json`` is written last and names
every other file with its size and SHA-256: a folder that does not agree with it is refused.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from pipeline.encoder.vocabulary import MANIFEST
from pipeline.errors import BadInputError, CorruptArtifactError

if TYPE_CHECKING:
    from pipeline.encoder.dense import DenseEncoder

QUERY_MODULE = "query_0_SparseStaticEmbedding"
TRANSFORMER_MODULE = "document_0_Transformer"
POOLING_MODULE = "document_1_Pooling"
NORMALIZE_MODULE = "document_2_Normalize"
LINEAR_MODULE = "document_3_Dense"
_ST = "sentence_transformers"


def as_json(value: Any, indent: int | None = 2) -> str:
    """``value`` as the JSON that the folder's files hold."""
    return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write ``value`` as UTF-8 JSON, making the folder it goes into."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(value, indent), "utf-8")


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target`` that becomes ``target`` when the block ends well, and vanishes otherwise.

    An existing ``target`` is moved aside first and deleted last, so that no moment shows a mixture of both. Raises
    BadInputError when the disk is full or the place cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent))
    except OSError as error:
        raise BadInputError(f"{target} cannot be written ({error.strerror}): choose another folder.") from error
    try:
        yield work
        for file in work.rglob("*"):
            file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors writes 0600
        work.chmod(0o755)
        if target.exists():
            aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
            target.rename(aside / "folder")
            work.rename(target)
            shutil.rmtree(aside, ignore_errors=True)
        else:
            work.rename(target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInputError(f"{target} could not be saved ({reason}): free some space and save again.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_query_weights(folder: Path, vocabulary: Sequence[str], weights: NDArray[np.float32]) -> None:
    """Write the query weights (V,) as ``idf.json`` and as the query module's."""
    save_file({"weight": weights.copy()}, str(folder / QUERY_MODULE / "model.safetensors"), {"format": "pt"})
    idf = {token: float(weight) for token, weight in zip(vocabulary, weights, strict=True)}
    write_json(folder / "idf.json", idf, indent=0)


def read_weights(folder: Path) -> NDArray[np.float32]:
    """The query weights (V,) of a folder; CorruptArtifactError where they cannot be read."""
    file = folder / QUERY_MODULE / "model.safetensors"
    try:
        return np.asarray(load_file(str(file))["weight"], np.float32)
    except (OSError, KeyError, SafetensorError) as error:
        raise CorruptArtifactError(f"{file} cannot be read: save the encoder again.") from error


def write_linear(folder: Path, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Write a linear layer (V, H) and (V,) with a ReLU as sentence-transformers keeps it."""
    place = folder / LINEAR_MODULE
    place.mkdir(parents=True, exist_ok=True)
    arrays = {"linear.weight": np.ascontiguousarray(weight), "linear.bias": np.ascontiguousarray(bias)}
    save_file(arrays, str(place / "model.safetensors"), {"format": "pt"})
    config = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": True,
              "activation_function": "torch.nn.modules.activation.ReLU", "module_input_name": "sentence_embedding",
              "module_output_name": "sentence_embedding"}  # fmt: skip
    write_json(place / "config.json", config)


def write_sentence_transformers(folder: Path, dense: DenseEncoder, *, has_table: bool) -> None:
    """Write the files that make ``folder`` a sentence-transformers >= 6 ``SparseEncoder``; weights and tokenizers are
    the caller's. Without a table there is no document route to load, and nothing is written."""
    if not has_table:
        return
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": f"{_ST}.base.modules.Router"}])
    types = {
        QUERY_MODULE: f"{_ST}.sparse_encoder.modules.SparseStaticEmbedding",
        TRANSFORMER_MODULE: f"{_ST}.base.modules.Transformer",
        POOLING_MODULE: f"{_ST}.sentence_transformer.modules.Pooling",
        NORMALIZE_MODULE: f"{_ST}.base.modules.Normalize",
        LINEAR_MODULE: f"{_ST}.base.modules.Dense",
    }
    documents = [TRANSFORMER_MODULE, POOLING_MODULE, NORMALIZE_MODULE, LINEAR_MODULE]
    structure = {"query": [QUERY_MODULE], "document": documents}
    parameters = {"default_route": "document", "allow_empty_key": True, "route_mappings": {}}
    write_json(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})
    write_json(folder / TRANSFORMER_MODULE / "sentence_bert_config.json", {"max_seq_length": dense.max_tokens})
    write_json(
        folder / POOLING_MODULE / "config.json",
        {"embedding_dimension": dense.width, "pooling_mode": dense.settings.pooling, "include_prompt": True},
    )
    write_json(folder / NORMALIZE_MODULE / "config.json", {})
    write_json(folder / QUERY_MODULE / "config.json", {"frozen": True})
    prompts = {"query": "", "document": dense.settings.passage_prefix}
    write_json(
        folder / "config_sentence_transformers.json",
        {"model_type": "SparseEncoder", "prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "dot"},
    )


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``garam.json``: ``facts`` and the size in bytes and SHA-256 of every file of the folder."""
    files = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    write_json(folder / MANIFEST, {"format": 2, **facts, "files": files})


def check_folder(folder: Path) -> dict[str, Any]:
    """The manifest of ``folder``, after checking every file against it; empty for a model from elsewhere.

    Raises BadInputError where there is no model, CorruptArtifactError where files are missing or differ.
    """
    if not folder.is_dir():
        raise BadInputError(f"{folder} is no folder: name the folder of a saved encoder.")
    if folder.name.endswith(".partial"):
        raise CorruptArtifactError(f"{folder} is a half-written encoder: delete it and save the encoder again.")
    manifest = folder / MANIFEST
    if not manifest.exists():
        if (folder / "idf.json").exists():
            raise CorruptArtifactError(f"{folder} is a half-written encoder ({MANIFEST} is missing): save it again.")
        if not (folder / "config.json").exists() or not list(folder.glob("*.safetensors")):
            raise BadInputError(f"{folder} holds no model (config.json and *.safetensors): name another folder.")
        return {}
    try:
        facts: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
        files = facts["files"].items()
        if facts["format"] != 2:
            raise BadInputError(f"{folder} was written by another version of Garam: build it again.")
    except (ValueError, KeyError, AttributeError) as error:
        raise CorruptArtifactError(f"{manifest} cannot be read: save the encoder again.") from error
    for name, expected in files:
        file = folder / name
        if not file.is_file():
            raise CorruptArtifactError(f"{folder} is incomplete: {name} is missing; save the encoder again.")
        if file.stat().st_size != expected["bytes"] or sha256_file(file) != expected["sha256"]:
            raise CorruptArtifactError(f"{folder} was changed or cut off: {name} differs from {MANIFEST}.")
    return facts
