"""The folder of a saved encoder: written atomically, checked when it is read.

Files:

* ``tokenizer.json`` and ``idf.json``: the query tokenizer and the weight of every token. No token may be missing from
  ``idf.json``: a missing one would weigh 1 in ml-commons and 0 in sentence-transformers.
* ``document_0_Transformer``: the dense encoder, a transformers model with its own tokenizer.
* ``table.safetensors``: the query table.
* ``garam.json``, the manifest, is written last. It holds the size and SHA-256 of every other file; a folder that
  does not match its manifest is refused.

The folder is also a sentence-transformers ``SparseEncoder``: a Router whose document route is transformer, pooling,
normalisation and a dense layer with ReLU, and whose query route is a ``SparseStaticEmbedding``. Loaded like that it
gives the learned terms of a text of one window, without the lexical floor and without the limit on the number of terms.
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
FORMAT = 3
"""Version of the layout of the folder; folders of another version are refused."""
_ST = "sentence_transformers"


def as_json(value: Any, indent: int | None = 2) -> str:
    """``value`` as JSON, formatted like the files of the folder."""
    return json.dumps(value, ensure_ascii=False, indent=indent) + "\n"


def write_json(path: Path, value: Any, indent: int | None = 2) -> None:
    """Write ``value`` as UTF-8 JSON; the parent folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(value, indent), "utf-8")


def sha256_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """A temporary folder beside ``target``: renamed to ``target`` when the block succeeds, deleted when it fails.

    An existing ``target`` is moved aside first and deleted last, so no reader sees files of both. Raises BadInputError
    when the disk is full or the folder cannot be written.
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
    """Write the query weights (V,) as ``idf.json`` and as weights of the query module."""
    save_file({"weight": weights.copy()}, str(folder / QUERY_MODULE / "model.safetensors"), {"format": "pt"})
    idf = {token: float(weight) for token, weight in zip(vocabulary, weights, strict=True)}
    write_json(folder / "idf.json", idf, indent=0)


def read_weights(folder: Path) -> NDArray[np.float32]:
    """The query weights (V,) float32 of a folder. Raises CorruptArtifactError where they cannot be read."""
    file = folder / QUERY_MODULE / "model.safetensors"
    try:
        return np.asarray(load_file(str(file))["weight"], np.float32)
    except (OSError, KeyError, SafetensorError) as error:
        raise CorruptArtifactError(f"{file} cannot be read: save the encoder again.") from error


def write_linear(folder: Path, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    """Write a linear layer (weight (V, H), bias (V,)) with a ReLU as a sentence-transformers Dense module."""
    module = folder / LINEAR_MODULE
    module.mkdir(parents=True, exist_ok=True)
    arrays = {"linear.weight": np.ascontiguousarray(weight), "linear.bias": np.ascontiguousarray(bias)}
    save_file(arrays, str(module / "model.safetensors"), {"format": "pt"})
    config = {"in_features": weight.shape[1], "out_features": weight.shape[0], "bias": True,
              "activation_function": "torch.nn.modules.activation.ReLU", "module_input_name": "sentence_embedding",
              "module_output_name": "sentence_embedding"}  # fmt: skip
    write_json(module / "config.json", config)


def write_sentence_transformers(folder: Path, dense: DenseEncoder, *, has_table: bool) -> None:
    """Write the files that make ``folder`` a sentence-transformers >= 6 ``SparseEncoder``.

    Weights and tokenizers are written by the caller. Without a table there is no document route, so nothing is written.
    """
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
    write_json(folder / MANIFEST, {"format": FORMAT, **facts, "files": files})


def check_folder(folder: Path) -> dict[str, Any]:
    """The manifest of ``folder``, with every file checked against it; {} for a model that Garam did not save.

    Raises BadInputError where there is no model or one of another format, CorruptArtifactError where files are missing
    or differ from the manifest.
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
        if facts["format"] != FORMAT:
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
