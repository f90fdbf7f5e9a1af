"""What every section of the configuration has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Section(BaseModel):
    """Unknown keys are refused, values are checked when read and never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def key(default: Any, description: str, *, common: bool = False, **bounds: Any) -> Any:
    """A configuration key: its default, its meaning with the unit, and its bounds (``ge``, ``le`` ...).

    ``common`` keys are those that people touch: they are listed in ``config.yaml``, all others have their home here.
    """
    return Field(default, description=description, json_schema_extra={"common": common}, **bounds)
