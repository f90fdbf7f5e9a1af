"""Text to sparse vectors; shared by training, evaluation, serving and notebooks.

``feature_name``, ``blocked_tokens`` and ``Encoding`` need no torch. The encoders import it at first use, so importing
this package in an Airflow DAG file is cheap.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Without it, idle OpenMP threads spin and starve the other processes of a small machine: a training step took 12 to
# 16 s beside other jobs without it and 2 to 3.5 s with it. It has to be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from pipeline.encoder.encoding import Encoding
from pipeline.encoder.vocabulary import blocked_tokens, feature_name, vocabulary_hash
from pipeline.lazy_imports import attributes

if TYPE_CHECKING:
    from pipeline.encoder.dense import DenseEncoder
    from pipeline.encoder.encoder import Encoder
    from pipeline.encoder.masked_lm import MaskedLMEncoder, load_any
    from pipeline.encoder.query_table import QueryTable

__all__ = [
    "DenseEncoder",
    "Encoder",
    "Encoding",
    "MaskedLMEncoder",
    "QueryTable",
    "blocked_tokens",
    "feature_name",
    "load_any",
    "vocabulary_hash",
]

_HOMES = {
    "DenseEncoder": "dense",
    "Encoder": "encoder",
    "MaskedLMEncoder": "masked_lm",
    "QueryTable": "query_table",
    "load_any": "masked_lm",
}
__getattr__ = attributes(__name__, _HOMES)
