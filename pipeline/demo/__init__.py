"""``make demo``: one whole turn of the service on real Korean speeches, through Airflow, watched by a person."""

from pipeline.demo.run import run

__all__ = ["run"]
