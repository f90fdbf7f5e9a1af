"""Where artifacts are kept. The database and OpenSearch addresses are secrets' neighbours: environment only."""

from __future__ import annotations

from pipeline.config.section import Section, key


class StorageConfig(Section):
    """Where artifacts are kept; addresses of services come from GARAM_DATABASE_URL and GARAM_OPENSEARCH_URL."""

    artifacts: str = key(
        "", "folder or fsspec URL (s3://...) of the artifact store; empty: <state folder>/artifacts", common=True
    )
    keep_days: int = key(
        90, "days that artifacts are kept which nothing needs; then `garam prune` removes them", ge=1, common=True
    )
