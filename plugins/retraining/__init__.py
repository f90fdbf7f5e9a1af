"""Garam in the Airflow UI: one page that says what is served, why, and what the news talks about."""
