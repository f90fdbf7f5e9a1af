"""Settings of the base model: the section ``base`` of the configuration, by the names that the code here uses."""

from pipeline.config.base import AdaptationConfig as AdaptationSettings
from pipeline.config.base import BaseModelConfig as BaseSettings
from pipeline.config.base import HeadConfig as HeadSettings

__all__ = ["AdaptationSettings", "BaseSettings", "HeadSettings"]
