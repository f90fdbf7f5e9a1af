"""The local stack: PostgreSQL, OpenSearch and Airflow on loopback, without Docker."""
