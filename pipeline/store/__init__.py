"""The store: the only SQL of the project, over Postgres.

Stages never import one another; what one needs of another is read here as typed values.
``base`` opens the database and hands out locks and times, ``schema`` holds the tables, and each
further module is one stage's rows.
"""

from pipeline.store.base import Store

__all__ = ["Store"]
