"""Print ``config.yaml``, the keys that people touch: ``python -m pipeline.config > config.yaml``."""

from pipeline.config import render

print(render(), end="")
