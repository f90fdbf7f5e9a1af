"""The configuration: typed, complete, overridable, and its errors name the nearest key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from pipeline.config import Config, load, load_with_origins, render
from pipeline.errors import ConfigError

REPOSITORY = Path(__file__).parents[3]


def test_the_repository_s_file_is_what_the_sections_say() -> None:
    assert (REPOSITORY / "config.yaml").read_text(encoding="utf-8") == render(), (
        "config.yaml is stale: run `python -m pipeline.config > config.yaml`"
    )


def test_the_file_reads_back_as_the_defaults() -> None:
    assert load(REPOSITORY / "config.yaml", {}) == Config()


def leaves(model: BaseModel, path: str = "") -> Iterator[tuple[str, str]]:
    """Every key, as (``section.key``, description)."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", field.description or ""


def test_every_key_says_what_it_means() -> None:
    for key, description in leaves(Config()):
        assert len(description) > 8, f"{key}: {description!r} says nothing"


def test_every_key_is_read_somewhere() -> None:
    files = [
        *(REPOSITORY / "pipeline").rglob("*.py"),
        *(REPOSITORY / "dags").rglob("*.py"),
        *(REPOSITORY / "demo").rglob("*.py"),
        REPOSITORY / "train.py",
    ]
    code = "\n".join(
        file.read_text(encoding="utf-8") for file in files if file.parent != REPOSITORY / "pipeline" / "config"
    )
    code += (REPOSITORY / "pipeline" / "config" / "encoder.py").read_text(encoding="utf-8")  # its own `encoding`
    unread = [key for key, _ in leaves(Config()) if not re.search(rf"\.{key.rsplit('.')[-1]}\b", code)]
    assert not unread


def test_the_file_lists_what_people_touch_and_the_printed_whole_lists_every_key() -> None:
    keys = {key for key, _ in leaves(Config())}
    printed = load_with_origins(None, {})[0]
    text = render(printed, every=True, origins={})
    assert Config.model_validate(yaml.safe_load(text)) == printed
    assert text.count("# from default") == len(keys)
    listed = load_with_origins(REPOSITORY / "config.yaml", {})[1]
    assert set(listed) < keys
    assert 30 <= len(listed) <= 45


def test_each_value_says_where_it_comes_from(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("training:\n  seed: 7\n  fine_tuning:\n    steps: 5\n")
    environ = {"GARAM_TRAINING__SEED": "9", "GARAM_STORAGE__ARTIFACTS": "s3://me:secret@host/bucket"}
    config, origins = load_with_origins(path, environ)
    text = render(config, every=True, origins=origins)
    assert "seed: 9  # from GARAM_TRAINING__SEED" in text
    assert f"steps: 5  # from {path}" in text
    assert "ridge: 1.0  # from default" in text
    assert "secret" not in text
    assert "artifacts: s3://***@host/bucket" in text


def test_a_file_may_hold_only_what_it_changes(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("training:\n  seed: 7\n")
    config = load(tmp_path / "c.yaml", {})
    assert config.training.seed == 7
    assert config.temporal == Config().temporal


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training:\n  sed: 7\n", "training has no key sed: did you mean seed"),
        ("trainign:\n  seed: 7\n", "unknown section trainign: did you mean training"),
        ("training:\n  fine_tuning:\n    stepps: 1\n", "training.fine_tuning has no key stepps: did you mean steps"),
        ("training:\n  seed: many\n", "training.seed is 'many'"),
        ("training:\n  ridge: 0\n", "training.ridge is 0"),
        ("- 1\n", "must hold sections"),
        ("training: [\n", "cannot be read as YAML"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        load(tmp_path / "c.yaml", {})
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        load(tmp_path / "none.yaml", {})


def test_the_environment_overrides_any_key(tmp_path: Path) -> None:
    config = load(
        REPOSITORY / "config.yaml",
        {
            "GARAM_TRAINING__SEED": "9",
            "GARAM_TEMPORAL__WINDOW_DAYS": "[7, 14, 28]",
            "GARAM_SERVING__ALIAS": "no",  # YAML would read a boolean
            "GARAM_TRAINING__FINE_TUNING__MARGIN": "0.5",
            "GARAM_STATE": "/somewhere",  # not a key
        },
    )
    assert config.training.seed == 9
    assert config.temporal.window_days == [7, 14, 28]
    assert config.serving.alias == "no"
    assert config.training.fine_tuning.margin == 0.5
    assert config.training.fine_tuning.steps == Config().training.fine_tuning.steps


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GARAM_TRAINING__SED", "GARAM_TRAINING__SED: training has no key sed: did you mean seed"),
        ("GARAM_TRAINNG__SEED", "GARAM_TRAINNG__SEED: there is no section trainng: did you mean training"),
        ("GARAM_TRAINING__SEED__X", "GARAM_TRAINING__SEED__X: training.seed is"),
        ("GARAM_TRAINING__RIDGE", "GARAM_TRAINING__RIDGE: training.ridge is '-1'"),
        ("GARAM_NEWS__LANGUAGES", "GARAM_NEWS__LANGUAGES"),
    ],
)
def test_a_wrong_override_names_the_variable_and_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(REPOSITORY / "config.yaml", {name: "-1"})


def test_a_configuration_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Config().training.seed = 3  # type: ignore[misc]


def test_results_are_keyed_by_the_sections_that_matter() -> None:
    changed = load(None, {"GARAM_TRAINING__SEED": "9"})
    assert changed.hash_of("training") != Config().hash_of("training")
    assert changed.hash_of("temporal") == Config().hash_of("temporal")
