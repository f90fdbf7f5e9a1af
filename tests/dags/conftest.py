"""Airflow for tests that only parse: a home of its own, no database."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

# Airflow reads these when it is first imported, which is why they are set here and not in a fixture.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="garam-airflow-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__CORE__DAGS_FOLDER", str(REPOSITORY / "dags"))
sys.path.insert(0, str(REPOSITORY / "dags"))
