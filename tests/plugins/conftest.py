"""The plugin's package, and an Airflow home for its routes."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

# Airflow reads these when it is first imported, which is why they are set here and not in a fixture.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="garam-airflow-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
sys.path.insert(0, str(Path(__file__).parents[2] / "plugins"))
