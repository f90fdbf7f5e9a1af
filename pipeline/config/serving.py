"""Serving from OpenSearch."""

from __future__ import annotations

from pipeline.config.section import Section, key


class ServingConfig(Section):
    """Serving: index, aliases and how many generations stay warm."""

    alias: str = key("news", "read alias; the write alias is <alias>-write and indices are <alias>-gNNNN", pattern="^[a-z][a-z0-9-]*$")
    keep_generations: int = key(2, "generations kept warm for rollback besides the live one", ge=1)
