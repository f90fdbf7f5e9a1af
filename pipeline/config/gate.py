"""The gate."""

from __future__ import annotations

from pipeline.config.section import Section, key


class GateConfig(Section):
    """The gate: all rules must hold before a model is deployed."""

    significance: float = key(0.05, "p-value under which a gain counts (paired randomization test)", gt=0, lt=1)
    minimum_gain: float = key(0.005, "smallest gain of nDCG@10 on fresh queries that is worth a deployment", ge=0)
    approval: bool = key(False, "true waits for a person's approval in the Airflow UI before deploying")
