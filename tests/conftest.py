"""Fixtures for all tests. Services are real: started by ``localstack``, once per session, when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import SessionStack, create_database, drop_database, remove_abandoned

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests marked ``shared`` need files that lie beside the repository only in some places."""
    if SHARED.exists():
        return
    skip = pytest.mark.skip(reason="there is no ../shared here")
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _not_the_users_stack(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test finds the services of whoever runs it."""
    for name in ("GARAM_DATABASE_URL", "GARAM_OPENSEARCH_URL", "GARAM_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GARAM_STATE", str(tmp_path_factory.getbasetemp() / "no-state"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``../shared``, for tests marked ``shared``."""
    return SHARED


@pytest.fixture(scope="session")
def session_stack() -> Iterator[SessionStack]:
    """The services of this session."""
    remove_abandoned()
    services = SessionStack()
    try:
        yield services
    finally:
        services.stop()


@pytest.fixture(scope="session")
def postgres_url(session_stack: SessionStack) -> str:
    """The superuser's URL of a real PostgreSQL (its database ``postgres``)."""
    session_stack.start("postgres")
    return session_stack.postgres_url()


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """The URL of a fresh, empty database, for this test alone."""
    url = create_database(postgres_url)
    yield url
    drop_database(postgres_url, url)


@pytest.fixture(scope="session")
def opensearch_url(session_stack: SessionStack) -> str:
    """The address of a real OpenSearch with nori, k-NN, neural search and ML Commons; tests share it."""
    session_stack.start("opensearch")
    return session_stack.opensearch_url()
