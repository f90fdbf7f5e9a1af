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
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.artifacts import content_hash
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
            _override(values, name, text)
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_sentence(error, path)) from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}: name another with --config or GARAM_CONFIG") from error
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


def _override(values: dict[str, Any], name: str, text: str) -> None:
    """Set the key that an environment variable names: GARAM_SECTION__KEY, or deeper where a key holds keys."""
    *path, last = name.removeprefix(PREFIX).lower().split("__")
    held, known = values, "the configuration"
    model: type[BaseModel] = Config
    for part in path:
        if part not in model.model_fields or _model_of(model, part) is None:
            raise ConfigError(f"{name}: {known} has no section {part}{_nearest(part, model.model_fields)}")
        held = held.setdefault(part, {})
        if not isinstance(held, dict):
            raise ConfigError(f"{name}: {part} must hold keys, not {held!r}")
        model, known = _model_of(model, part) or model, part
    if last not in model.model_fields:
        raise ConfigError(f"{name}: {known} has no key {last}{_nearest(last, model.model_fields)}")
    # A scalar text stays text when the key wants text: `yes`, `1.0` or a date must not change its type.
    held[last] = text if model.model_fields[last].annotation is str else _parse(name, text)


def _model_of(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model of a field that holds keys of its own; None for a plain value."""
    annotation = model.model_fields[name].annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {found[0]}?" if found else f": it has {', '.join(sorted(known))}"


def _sentence(error: ValidationError, path: Path | None) -> str:
    where = str(path) if path else "the configuration"
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = Config
        for part in place[:-1]:
            model = _model_of(model, part) or model
        nearest = _nearest(place[-1], model.model_fields)
        if len(place) == 1:
            return f"{where} has an unknown section {place[0]}{nearest}"
        return f"{where}: {'.'.join(place[:-1])} has no key {place[-1]}{nearest}"
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
        lines += ["", f"# {' '.join((type(model).__doc__ or '').split())}", f"{section}:", *_keys(model, "  ")]
    return "\n".join(lines) + "\n"


def _keys(model: BaseModel, indent: str) -> list[str]:
    lines = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        lines.append(f"{indent}# {field.description}")
        if isinstance(value, BaseModel):
            lines += [f"{indent}{name}:", *_keys(value, indent + "  ")]
        else:
            plain = model.model_dump(mode="json")[name]
            text = yaml.safe_dump(plain, allow_unicode=True, default_flow_style=True, width=1000)
            lines.append(f"{indent}{name}: {text.removesuffix('...' + chr(10)).strip()}")
    return lines
