"""The pages' routes. Reading takes permission to read DAGs, changing feeds takes permission to trigger `operate`.

Feeds are changed by a form of the page itself. Cross-site requests, which carry the user's cookie too, are refused by
the headers that browsers add.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from typing import Annotated, Any
from urllib.parse import parse_qs, urlsplit

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.encoders import jsonable_encoder
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from pipeline.errors import GaramError, UsageError
from retraining import rendering
from retraining.translations import Translation

app = FastAPI(title="Garam", docs_url=None, redoc_url=None, openapi_url=None)
MAY_READ = [Depends(requires_access_dag("GET"))]
_edit = requires_access_dag("POST", DagAccessEntity.RUN, "operate")
# The pages show text of feeds. If escaping failed, this still keeps it from running or loading anything.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
}
DONE = {
    "add": "The feed is in the list. The next crawl polls it.",
    "enable": "The feed is enabled. The next crawl polls it.",
    "disable": "The feed is disabled. Its articles stay.",
    "delete": "The feed is deleted. Its articles stay.",
}
LONGEST_FORM = 10_000  # bytes
LOG = logging.getLogger("garam.feeds")


def language(
    lang: Annotated[str | None, Query()] = None, accept_language: Annotated[str | None, Header()] = None
) -> Translation:
    """The page's language."""
    return Translation.choose(lang, accept_language)


def context() -> Iterator[Any]:
    """The pipeline's context for one request; its database connections are closed after it."""
    from pipeline.context import Context

    with Context.open() as ctx:
        yield ctx


Language = Annotated[Translation, Depends(language)]
Pipeline = Annotated[Any, Depends(context)]


def same_site(request: Request) -> None:
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


@app.exception_handler(GaramError)
def problem(request: Request, error: GaramError) -> HTMLResponse:
    """A service that does not respond is one sentence on the page."""
    translation = language(request.query_params.get("lang"), request.headers.get("accept-language"))
    return HTMLResponse(rendering.problem(str(error), translation), status_code=503, headers=HEADERS)


@app.get("/overview", dependencies=MAY_READ)
def overview_json(ctx: Pipeline, day: Annotated[dt.date | None, Query()] = None) -> JSONResponse:
    """What the overview shows, as JSON."""
    from pipeline import overview

    return JSONResponse(jsonable_encoder(overview.collect(ctx, day)), headers=HEADERS)


@app.get("/feeds.json", dependencies=MAY_READ)
def feeds_json(ctx: Pipeline) -> JSONResponse:
    """What the page of feeds shows, as JSON."""
    from pipeline import overview

    return JSONResponse(jsonable_encoder(overview.feeds(ctx)), headers=HEADERS)


@app.get("/", dependencies=MAY_READ, response_class=HTMLResponse)
def overview_page(
    ctx: Pipeline, translation: Language, day: Annotated[str | None, Query(max_length=100)] = None
) -> HTMLResponse:
    """The overview, with the newest round or that of ``day``; a day without a round is a 404 that names the others."""
    from pipeline import overview
    from pipeline.asof import parse_day

    try:
        chosen, malformed = None if day is None else parse_day(day), False
    except UsageError:
        chosen, malformed = None, True
    values = overview.collect(ctx, chosen)
    if malformed or (day is not None and values["round"] is None):
        html = rendering.no_round(day or "", values["days"], translation, malformed=malformed)
        return HTMLResponse(html, status_code=404, headers=HEADERS)
    return HTMLResponse(rendering.overview(values, translation), headers=HEADERS)


@app.get("/feeds", dependencies=MAY_READ, response_class=HTMLResponse)
def feeds_page(
    ctx: Pipeline,
    translation: Language,
    edits: Annotated[bool, Depends(may_edit)],
    show: Annotated[str, Query()] = "",
    done: Annotated[str, Query()] = "",
) -> HTMLResponse:
    """The feeds, with a sentence about the change that led here."""
    return _feeds_page(
        ctx, translation, edits, troubled=show == "troubled", done=translation(DONE[done]) if done in DONE else ""
    )


def _feeds_page(
    ctx: Any,
    translation: Translation,
    edits: bool,
    *,
    troubled: bool = False,
    notice: str = "",
    done: str = "",
    status: int = 200,
) -> HTMLResponse:
    from pipeline import overview

    html = rendering.feeds(
        overview.feeds(ctx), translation, may_edit=edits, troubled=troubled, notice=notice, done=done
    )
    return HTMLResponse(html, status_code=status, headers=HEADERS)


@app.post("/feeds", dependencies=[*MAY_READ, Depends(same_site), Depends(_edit)])
async def change_feeds(request: Request, ctx: Pipeline, translation: Language, user: GetUserDep) -> Response:
    """Add, enable, disable or delete a feed; then redirect to the page, or show it with what is wrong."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > LONGEST_FORM:
            raise HTTPException(413, "the form is too long")
    form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    return await run_in_threadpool(_change, ctx, form, translation, str(user.get_name()))


def _change(ctx: Any, form: dict[str, str], translation: Translation, user: str) -> Response:
    from pipeline import news

    action, url = form.get("action", ""), form.get("url", "")
    try:
        if action == "add":
            url = news.add_feed(ctx, url, outlet=form.get("outlet", ""), category=form.get("category", ""))
        elif action in ("enable", "disable"):
            news.set_feed(ctx, url, enabled=action == "enable")
        elif action == "delete":
            news.delete_feed(ctx, url)
        else:
            raise HTTPException(400, "the form names no action: add, enable, disable or delete")
    except GaramError as error:
        if error.retryable:
            raise
        return _feeds_page(ctx, translation, True, notice=translation("This cannot be done: {}", error), status=400)
    LOG.info("%s: %s %r", user, action, url)
    # Redirected, so that reloading the page does not repeat the change.
    return RedirectResponse(f"feeds?lang={translation.language}&done={action}", status_code=303, headers=HEADERS)
