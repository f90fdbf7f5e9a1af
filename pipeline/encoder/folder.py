"""An encoder's folder: read with checks, written in one piece.

The folder is a transformers model (``config.json``, ``model.safetensors``, tokenizer files) and a
sentence-transformers ``SparseEncoder`` at once: a Router whose document route is the model itself plus
``SpladePooling``, and whose query route is a ``SparseStaticEmbedding`` with the query weights. ``idf.json`` holds the
same weights by token, every token written (one that is missing would weigh 1 in ml-commons and 0 in
sentence-transformers). ``garam.json`` is written last and names every other file with its size and SHA-256: a folder
that does not agree with it is refused. ``projection.safetensors`` and ``styles.safetensors``, where there are any, are
Garam's own (`pipeline.encoder.projection`, `pipeline.encoder.styles`).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pipeline.encoder.vocabulary import MANIFEST
from pipeline.errors import BadInputError, CorruptArtifactError

QUERY_MODULE = "query_0_SparseStaticEmbedding"
POOLING_MODULE = "document_1_SpladePooling"
_MODULES = "sentence_transformers.sparse_encoder.modules"
_ROUTER = "sentence_transformers.base.modules.router.Router"


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


def write_sentence_transformers(folder: Path) -> None:
    """Write the files that make ``folder`` a sentence-transformers >= 6 ``SparseEncoder``; the query module's weights
    and tokenizer are the caller's."""
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": _ROUTER}])
    types = {
        QUERY_MODULE: f"{_MODULES}.sparse_static_embedding.SparseStaticEmbedding",
        "": "sentence_transformers.base.modules.transformer.Transformer",
        POOLING_MODULE: f"{_MODULES}.splade_pooling.SpladePooling",
    }
    structure = {"query": [QUERY_MODULE], "document": ["", POOLING_MODULE]}
    parameters = {"default_route": "document", "allow_empty_key": True, "route_mappings": {}}
    write_json(folder / "router_config.json", {"types": types, "structure": structure, "parameters": parameters})
    modality = {"text": {"method": "forward", "method_output_name": "logits"}}
    write_json(
        folder / "sentence_bert_config.json",
        {"transformer_task": "fill-mask", "modality_config": modality, "module_output_name": "token_embeddings"},
    )
    write_json(folder / POOLING_MODULE / "config.json", {"pooling_strategy": "max", "activation_function": "relu"})
    write_json(folder / QUERY_MODULE / "config.json", {"frozen": True})
    write_json(
        folder / "config_sentence_transformers.json",
        {
            "model_type": "SparseEncoder",
            "prompts": {"query": "", "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "dot",
        },
    )


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``garam.json``: ``facts`` and the size in bytes and SHA-256 of every file of the folder."""
    files = {
        file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256_file(file)}
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != MANIFEST
    }
    write_json(folder / MANIFEST, {"format": 1, **facts, "files": files})


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
    except (ValueError, KeyError, AttributeError) as error:
        raise CorruptArtifactError(f"{manifest} cannot be read: save the encoder again.") from error
    for name, expected in files:
        file = folder / name
        if not file.is_file():
            raise CorruptArtifactError(f"{folder} is incomplete: {name} is missing; save the encoder again.")
        if file.stat().st_size != expected["bytes"] or sha256_file(file) != expected["sha256"]:
            raise CorruptArtifactError(f"{folder} was changed or cut off: {name} differs from {MANIFEST}.")
    return facts
