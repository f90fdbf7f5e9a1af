"""Checkpoints: a killed training resumes from the last one and ends with the same result."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import BadInputError

NAME = "checkpoint.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically and flush it to disk. Raises BadInputError when the disk is full."""
    target, partial = folder / NAME, folder / f"{NAME}.partial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as handle:
            torch.save(state, handle)
            handle.flush()
            os.fsync(handle.fileno())
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        partial.unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or "the disk is full, or a file size limit is reached"
        raise BadInputError(f"the checkpoint {target} could not be written ({reason}): free some space") from error


def load(folder: Path, identity: str) -> dict[str, Any] | None:
    """The checkpoint in ``folder``, None where there is none. ``identity`` is the hash of data, initial model and
    settings.

    Raises BadInputError for a checkpoint of another training, or one that cannot be read.
    """
    path = folder / NAME
    if not path.exists():
        return None
    try:
        # weights_only: unpickling must not run code.
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever its parts raise
        raise BadInputError(f"{path} cannot be read: delete it, and the training starts again") from error
    if state.get("identity") != identity:
        raise BadInputError(
            f"{path} belongs to another training (other data, initial model or settings): choose another folder, "
            "or delete it"
        )
    return state


def remove(folder: Path) -> None:
    """Delete the checkpoint of a finished training."""
    (folder / NAME).unlink(missing_ok=True)
