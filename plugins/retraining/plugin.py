"""Registers the pages with Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from retraining.api import app


class RetrainingPlugin(AirflowPlugin):
    """Pages in the navigation, and their data as JSON, at /retraining."""

    name = "retraining"
    fastapi_apps = [{"app": app, "url_prefix": "/retraining", "name": "Garam"}]  # noqa: RUF012 - as Airflow reads it
    external_views = [  # noqa: RUF012 - as Airflow reads it
        {"name": "Garam", "href": "/retraining/", "destination": "nav", "url_route": "garam", "nav_top_level": True},
    ]
