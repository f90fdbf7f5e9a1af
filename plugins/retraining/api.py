"""The page's routes. They read; what changes something is the DAG `operate`, where it is recorded and permitted."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.core_api.security import requires_access_dag
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse, JSONResponse

app = FastAPI(title="Garam", docs_url=None, redoc_url=None, openapi_url=None)
MAY_READ = [Depends(requires_access_dag("GET"))]
# Feed text is on this page: even if escaping failed, nothing of it could run or be fetched.
HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'"}


def _overview() -> dict[str, Any]:
    from pipeline import overview
    from pipeline.context import Context

    return overview.collect(Context.open())


@app.get("/overview", dependencies=MAY_READ)
def data() -> JSONResponse:
    """What the page shows, as JSON."""
    from fastapi.encoders import jsonable_encoder

    return JSONResponse(jsonable_encoder(_overview()), headers=HEADERS)


@app.get("/", dependencies=MAY_READ, response_class=HTMLResponse)
def page() -> HTMLResponse:
    """The page; a service that does not answer is one sentence on it."""
    from pipeline.errors import GaramError
    from retraining.page import render, render_problem

    try:
        return HTMLResponse(render(_overview()), headers=HEADERS)
    except GaramError as error:
        return HTMLResponse(render_problem(str(error)), status_code=503, headers=HEADERS)
