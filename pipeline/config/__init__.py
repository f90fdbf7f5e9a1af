"""``config.yaml``: every number of the pipeline, typed, with its unit.

A section is one pydantic model beside this file; its fields are the single home of a default, its unit and its
meaning, and the repository's ``config.yaml`` is printed from them (``python -m pipeline.config``; a test compares).
A file may hold only the keys it changes. ``GARAM_SECTION__KEY`` overrides any key; secrets are never keys.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.artifacts import content_hash
from pipeline.config.base import BaseModelConfig
from pipeline.config.dataset import DatasetConfig
from pipeline.config.demo import DemoConfig
from pipeline.config.encoder import EncoderConfig
from pipeline.config.evaluation import EvaluationConfig
from pipeline.config.gate import GateConfig
from pipeline.config.news import NewsConfig
from pipeline.config.serving import ServingConfig
from pipeline.config.storage import StorageConfig
from pipeline.config.synonyms import SynonymsConfig
from pipeline.config.temporal import TemporalConfig
from pipeline.config.training import TrainingConfig
from pipeline.errors import ConfigError

PREFIX = "GARAM_"


class Config(BaseModel):
    """All sections. Frozen: a run's configuration does not change under it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    storage: StorageConfig = StorageConfig()
    news: NewsConfig = NewsConfig()
    temporal: TemporalConfig = TemporalConfig()
    synonyms: SynonymsConfig = SynonymsConfig()
    base: BaseModelConfig = BaseModelConfig()
    encoder: EncoderConfig = EncoderConfig()
    dataset: DatasetConfig = DatasetConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    serving: ServingConfig = ServingConfig()
    demo: DemoConfig = DemoConfig()

    def hash_of(self, *sections: str) -> str:
        """The identity of some sections' values: what a result computed with them is keyed by."""
        return content_hash({name: getattr(self, name).model_dump(mode="json") for name in sections})


def load(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of ``path`` with the environment's overrides on top.

    Without ``path``: ``$GARAM_CONFIG``, else ``config.yaml`` here, else the defaults. Raises ConfigError with one
    sentence for a missing or unreadable file, an unknown key (naming the nearest) or a value out of range.
    """
    environ = os.environ if environ is None else environ
    path = Path(path) if path else Path(environ["GARAM_CONFIG"]) if environ.get("GARAM_CONFIG") else None
    values = _read(path) if path else _read(Path("config.yaml")) if Path("config.yaml").exists() else {}
    for name, text in environ.items():
        if name.startswith(PREFIX) and "__" in name:
            section, _, key = name.removeprefix(PREFIX).lower().partition("__")
            _check_known(name, section, key)
            held = values.setdefault(section, {})
            if not isinstance(held, dict):
                raise ConfigError(f"{section} in {path} must hold keys, not {held!r}")
            # A scalar text stays text when the key wants text: `yes`, `1.0` or a date must not change its type.
            held[key] = text if _wants_text(section, key) else _parse(name, text)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_sentence(error, path)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no configuration file {path}: name another with --config or GARAM_CONFIG") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold sections of keys, not a {type(values).__name__}")
    return values


def _parse(name: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the value of {name} cannot be read: {text!r}") from error


def _check_known(name: str, section: str, key: str) -> None:
    if section not in Config.model_fields:
        raise ConfigError(f"{name} names no section of the configuration{_nearest(section, Config.model_fields)}")
    fields = _fields(section)
    if key not in fields:
        raise ConfigError(f"{name}: {section} has no key {key}{_nearest(key, fields)}")


def _fields(section: str) -> Mapping[str, Any]:
    annotation = Config.model_fields[section].annotation
    return annotation.model_fields if isinstance(annotation, type) and issubclass(annotation, BaseModel) else {}


def _wants_text(section: str, key: str) -> bool:
    annotation = _fields(section)[key].annotation
    return annotation is str or (get_origin(annotation) is Union and str in get_args(annotation))


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {found[0]}?" if found else f": it has {', '.join(sorted(known))}"


def _sentence(error: ValidationError, path: Path | None) -> str:
    where = str(path) if path else "the configuration"
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        if len(place) == 1:
            return f"{where} has an unknown section {place[0]}{_nearest(place[0], Config.model_fields)}"
        return f"{where}: {place[0]} has no key {place[1]}{_nearest(place[1], _fields(place[0]))}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {'.'.join(place)} is {first.get('input')!r}, but {message}"


def render(config: Config | None = None) -> str:
    """The text of ``config.yaml``: every key with its value and, above it, its unit and meaning."""
    config = config or Config()
    lines = [
        "# Garam's configuration: every number with its unit. Printed by `python -m pipeline.config`.",
        "# Any key can be overridden by the environment as GARAM_SECTION__KEY; secrets never stand here.",
    ]
    for section in Config.model_fields:
        model: BaseModel = getattr(config, section)
        lines += ["", f"# {' '.join((type(model).__doc__ or '').split())}", f"{section}:"]
        for key, field in type(model).model_fields.items():
            lines.append(f"  # {field.description}")
            value = yaml.safe_dump(
                model.model_dump(mode="json")[key], allow_unicode=True, default_flow_style=True, width=1000
            )
            lines.append(f"  {key}: {value.removesuffix('...' + chr(10)).strip()}")
    return "\n".join(lines) + "\n"
