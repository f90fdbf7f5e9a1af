"""Print ``config.yaml`` with the defaults: ``python -m pipeline.config > config.yaml``."""

from pipeline.config import render

print(render(), end="")
