"""The gate."""

from __future__ import annotations

from pipeline.config.section import Section, key


class GateConfig(Section):
    """The gate: all rules must hold before a model is deployed."""

    significance: float = key(
        0.05, "p-value under which a gain counts (paired randomization test)", gt=0, lt=0.5, common=True
    )
    minimum_gain: float = key(
        0.005, "smallest gain of nDCG@10 on fresh queries that is worth a deployment", ge=0, common=True
    )
    minimum_queries: int = key(
        30, "fresh queries, and anchor queries, below which nothing is decided in the candidate's favour", ge=2
    )
    permutations: int = key(20000, "sign patterns drawn by a randomization test", ge=10000)
    seed: int = key(13, "seed of the tests' random draws")
    anchor_margin: float = key(
        0.02,
        "nDCG@10 that the anchor set may lie below the best value ever served (bound, not estimate)",
        gt=0,
        common=True,
    )
    slice_queries: int = key(20, "queries from which on a slice counts", ge=2)
    slice_margin: float = key(0.01, "fall of nDCG@10 in a slice that is let pass even when it is certain", ge=0)
    max_active_terms: float = key(400, "mean active terms of a document", gt=0)
    max_flops: float = key(20, "products per query and document (expected)", gt=0)
    max_query_ms: float = key(500, "median time of a query in the cluster, milliseconds", gt=0, common=True)
    cost_growth: float = key(
        1.25, "how many times the champion's active terms, FLOPS and index size a candidate may cost", ge=1
    )
    weights_margin: float = key(
        0.01, "nDCG@10 on fresh queries that new query weights may lie below those published (bound)", gt=0
    )
    weights_documents: int = key(
        2000, "documents encoded here at most to judge query weights; more come from the vectors there are", ge=10
    )
    max_boost: float = key(
        4.0, "largest trend boost of a token (factor of its IDF) that new query weights may hold", gt=1
    )
    approval: bool = key(False, "true waits for a person's approval in the Airflow UI before deploying", common=True)
    approval_hours: float = key(
        72,
        "hours to wait for an approval; after them the deployment is refused and the run ends without one",
        gt=0,
        common=True,
    )
