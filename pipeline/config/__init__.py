"""The configuration: typed keys with units, read from defaults, ``config.yaml`` and the environment.

A section is one pydantic model beside this file; its fields are the single home of a default, its unit and its
meaning. ``config.yaml`` lists the keys that people touch, printed from those fields (``python -m pipeline.config``; a
test compares); ``garam config --all`` prints every key and where its value comes from. A file may hold only the keys
it changes. ``GARAM_SECTION__KEY`` overrides any key; secrets are never keys.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

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
from pipeline.hashing import content_hash

PREFIX, DELIMITER = "GARAM_", "__"

#: Who touches a section and those after it, by the first section of each group.
ROLES = {
    "news": "Crawl operator",
    "serving": "Search engineer",
    "temporal": "ML engineer",
    "storage": "Administrator",
    "demo": "Demo",
}

HEADER = """\
# Garam's configuration: the keys that people touch, grouped by who touches them, with their defaults. Printed by
# `python -m pipeline.config`; `garam config --all` prints every key and where its value comes from.
# Any key can be overridden by the environment as GARAM_SECTION__KEY; addresses of services and secrets are never
# keys: they come from the environment or from files (README)."""


class Config(BaseSettings):
    """All sections, in the order of ``config.yaml``. Frozen: a run's configuration does not change under it.

    ``Config()`` is the defaults; `load` adds a file and the environment.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)

    news: NewsConfig = NewsConfig()
    serving: ServingConfig = ServingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    temporal: TemporalConfig = TemporalConfig()
    synonyms: SynonymsConfig = SynonymsConfig()
    encoder: EncoderConfig = EncoderConfig()
    dataset: DatasetConfig = DatasetConfig()
    training: TrainingConfig = TrainingConfig()
    storage: StorageConfig = StorageConfig()
    demo: DemoConfig = DemoConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """A configuration made in code has its arguments and defaults only."""
        return (init_settings,)

    def hash_of(self, *sections: str) -> str:
        """The identity of some sections' values: what a result computed with them is keyed by."""
        return content_hash({name: getattr(self, name).model_dump(mode="json") for name in sections})


def load(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration of ``path`` with the environment's overrides on top.

    Without ``path``: ``$GARAM_CONFIG``, else ``config.yaml`` here, else the defaults. Raises ConfigError with one
    sentence for a missing or unreadable file, an unknown key (naming the nearest) or a value out of range.
    """
    return load_with_origins(path, environ)[0]


def load_with_origins(
    path: Path | str | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Config, dict[str, str]]:
    """The configuration as `load` reads it, and where each key (``section.key``) that is set has its value from.

    The origin is a file's path or an environment variable's name; keys that are not in it have their default.
    """
    environ = os.environ if environ is None else environ
    path = path or environ.get("GARAM_CONFIG") or ("config.yaml" if Path("config.yaml").exists() else None)
    values = _read(Path(path)) if path else {}
    variables = {name: value for name, value in environ.items() if name.startswith(PREFIX) and DELIMITER in name}
    for name in variables:
        section = name.removeprefix(PREFIX).lower().split(DELIMITER)[0]
        if section not in Config.model_fields:  # pydantic-settings would not see it
            raise ConfigError(f"{name}: there is no section {section}{_nearest(section, Config)}")
    origins = {key: str(path) for key in _flat(values)}
    origins |= {name.removeprefix(PREFIX).lower().replace(DELIMITER, "."): name for name in variables}
    environment = EnvSettingsSource(Config)
    environment.env_vars = {name.lower(): value for name, value in variables.items()}
    # Earlier sources win. A mapping, since the type checker knows only the fields as arguments.
    sources: dict[str, Any] = {"_build_sources": ((environment, InitSettingsSource(Config, values)), {})}
    try:
        return Config(**sources), origins
    except ValidationError as error:
        raise ConfigError(_sentence(error, origins, str(path))) from error
    except SettingsError as error:
        raise ConfigError(f"a list in {', '.join(sorted(variables))} is not written as JSON ({error})") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}: name another with --config or GARAM_CONFIG") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from error
    if values is not None and not isinstance(values, dict):
        raise ConfigError(f"{path} must hold sections of keys, not a {type(values).__name__}")
    return values or {}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _nearest(name: str, model: type[BaseModel]) -> str:
    near = difflib.get_close_matches(name, list(model.model_fields), n=1, cutoff=0.5)
    return f": did you mean {near[0]}?" if near else f": it has {', '.join(sorted(model.model_fields))}"


def _sentence(error: ValidationError, origins: dict[str, str], path: str) -> str:
    first = error.errors()[0]
    *parents, last = (str(part) for part in first["loc"]) if first["loc"] else ("",)
    place = ".".join([*parents, last])
    related = (
        origin
        for key, origin in reversed(origins.items())
        if f"{place}.".startswith(f"{key}.") or f"{key}.".startswith(f"{place}.")
    )
    where = next(related, path)
    if first["type"] == "extra_forbidden":
        model: type[BaseModel] = Config
        for part in parents:
            annotation = model.model_fields[part].annotation
            model = annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else model
        if not parents:
            return f"{where} has an unknown section {last}{_nearest(last, model)}"
        return f"{where}: {'.'.join(parents)} has no key {last}{_nearest(last, model)}"
    message = first["msg"][0].lower() + first["msg"][1:]
    return f"{where}: {place} is {_without_password(repr(first.get('input')))}, but {message}"


def _without_password(text: str) -> str:
    """Addresses are shown without the password that a person may have written into them."""
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", text)


def render(config: Config | None = None, *, every: bool = False, origins: Mapping[str, str] | None = None) -> str:
    """The keys that people touch (or ``every`` key) as YAML, each with its unit and meaning above it.

    With ``origins`` (see `load_with_origins`) every value says where it comes from, and passwords in addresses are
    hidden; without, this is the text of ``config.yaml``.
    """
    config = config or Config()
    lines = [] if origins is not None else [HEADER]
    for section in type(config).model_fields:
        model: BaseModel = getattr(config, section)
        if keys := list(_keys(model, section, every, origins)):
            role = [f"# ---- {ROLES[section]} ----", ""] if section in ROLES else []
            lines += ["", *role, f"# {' '.join((type(model).__doc__ or '').split())}", f"{section}:", *keys]
    return "\n".join(lines).lstrip("\n") + "\n"


def _keys(model: BaseModel, path: str, every: bool, origins: Mapping[str, str] | None) -> Iterator[str]:
    indent = "  " * (path.count(".") + 1)
    values = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        extra, value = field.json_schema_extra, getattr(model, name)
        if not every and not (isinstance(extra, dict) and extra.get("common")):
            continue
        yield f"{indent}# {field.description}"
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _keys(value, f"{path}.{name}", every, origins)
            continue
        text = yaml.safe_dump(values[name], allow_unicode=True, default_flow_style=True, width=1000)
        text = text.removesuffix("...\n").strip()
        if origins is None:
            yield f"{indent}{name}: {text}"
        else:
            yield f"{indent}{name}: {_without_password(text)}  # from {origins.get(f'{path}.{name}', 'default')}"
