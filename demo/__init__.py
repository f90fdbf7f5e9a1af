"""``make demo``: one whole turn of the service on real Korean speeches, through Airflow, watched by a person."""
