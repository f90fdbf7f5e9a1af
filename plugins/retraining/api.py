"""The pages' routes. Looking takes permission to read DAGs; changing the feeds that to trigger the DAG `operate`.

A change is a form of the page itself: one that comes from anywhere else (another site's form, with the user's cookie)
is refused by where the browser says that it comes from.
"""

from __future__ import annotations

import logging
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from retraining.words import Words

app = FastAPI(title="Garam", docs_url=None, redoc_url=None, openapi_url=None)
MAY_READ = [Depends(requires_access_dag("GET"))]
_edit = requires_access_dag("POST", DagAccessEntity.RUN, "operate")
# Feed text is on these pages: even if escaping failed, nothing of it could run, be fetched or be sent elsewhere.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
}
LONGEST_FORM = 10_000  # bytes
LOG = logging.getLogger("garam.feeds")


def language(
    lang: Annotated[str | None, Query()] = None, accept_language: Annotated[str | None, Header()] = None
) -> Words:
    """What the page is to be said in."""
    return Words.of(lang, accept_language)


Say = Annotated[Words, Depends(language)]


def from_this_page(request: Request) -> None:
    """Refuse a form that does not come from a page of this server."""
    site = request.headers.get("sec-fetch-site")
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if site != "same-origin" if site else origin != request.headers.get("host"):
        raise HTTPException(403, "a form of another site cannot change the feeds: use the page of this server")


def may_edit(request: Request, user: GetUserDep) -> bool:
    """Whether the user may change the feeds."""
    try:
        _edit(request, user)
    except HTTPException:
        return False
    return True


def _overview() -> dict[str, Any]:
    from pipeline import overview
    from pipeline.context import Context

    return overview.collect(Context.open())


def _feeds() -> dict[str, Any]:
    from pipeline import overview
    from pipeline.context import Context

    return overview.feeds(Context.open())


@app.get("/overview", dependencies=MAY_READ)
def data() -> JSONResponse:
    """What the overview shows, as JSON."""
    return JSONResponse(jsonable_encoder(_overview()), headers=HEADERS)


@app.get("/feeds.json", dependencies=MAY_READ)
def feeds_data() -> JSONResponse:
    """What the page of feeds shows, as JSON."""
    return JSONResponse(jsonable_encoder(_feeds()), headers=HEADERS)


@app.get("/", dependencies=MAY_READ, response_class=HTMLResponse)
def page(say: Say) -> HTMLResponse:
    """The overview; a service that does not answer is one sentence on it."""
    from pipeline.errors import GaramError
    from retraining.page import render, render_problem

    try:
        return HTMLResponse(render(_overview(), say), headers=HEADERS)
    except GaramError as error:
        return HTMLResponse(render_problem(str(error), say), status_code=503, headers=HEADERS)


@app.get("/feeds", dependencies=MAY_READ, response_class=HTMLResponse)
def feeds_page(say: Say, edits: Annotated[bool, Depends(may_edit)], show: Annotated[str, Query()] = "") -> HTMLResponse:
    """The feeds."""
    return _feeds_page(say, edits, troubled=show == "troubled")


def _feeds_page(
    say: Words, edits: bool, *, troubled: bool = False, notice: str = "", status: int = 200
) -> HTMLResponse:
    from pipeline.errors import GaramError
    from retraining.feeds_page import render
    from retraining.page import render_problem

    try:
        html = render(_feeds(), say, may_edit=edits, troubled=troubled, notice=notice)
        return HTMLResponse(html, status_code=status, headers=HEADERS)
    except GaramError as error:
        return HTMLResponse(render_problem(str(error), say), status_code=503, headers=HEADERS)


@app.post("/feeds", dependencies=[*MAY_READ, Depends(from_this_page), Depends(_edit)])
async def change_feeds(request: Request, say: Say, user: GetUserDep) -> Response:
    """Add a feed, switch one on or off; then the page again, or what is wrong with it on the page."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, "the form is too long")
    form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    return await run_in_threadpool(_change, form, say, str(user.get_name()))


def _change(form: dict[str, str], say: Words, who: str) -> Response:
    from pipeline import news
    from pipeline.context import Context
    from pipeline.errors import GaramError

    action, url = form.get("action", ""), form.get("url", "")
    try:
        ctx = Context.open()
        if action == "add":
            url = news.add_feed(ctx, url, outlet=form.get("outlet", ""), category=form.get("category", ""))
        elif action in ("enable", "disable"):
            news.set_feed(ctx, url, enabled=action == "enable")
        else:
            raise HTTPException(400, "the form names no action: add, enable or disable")
    except GaramError as error:
        return _feeds_page(say, True, notice=say("This cannot be done: {}", error), status=400)
    LOG.info("%s: %s %r", who, action, url)
    # The page is asked for again, so that going back or loading anew repeats nothing.
    return RedirectResponse(f"feeds?lang={say.language}", status_code=303, headers=HEADERS)
