"""The names of serving's locks. Taken in this order, never the other way round."""

from __future__ import annotations

DEPLOY = "serving.deploy"
"""Whoever builds a generation or removes one: held as long as that takes."""
MODELS = "serving.models"
"""Whoever registers, names or removes query models: seconds."""
SWAP = "serving.swap"
"""Whoever moves the alias, with the rows that say so: about a second."""


def articles(generation_id: int) -> str:
    """Whoever writes into one generation's index: a batch at a time."""
    return f"serving.articles.{generation_id}"
