"""An OpenAI-compatible server as validator: one request and one JSON response for each pair.

The key comes from the environment (OPENAI_API_KEY) and goes nowhere but into the request's header. Redirects are not
followed: the address that was configured is the only one that gets the key.
"""

from __future__ import annotations

import http.client
import json
import math
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any

from pipeline.errors import ConfigError, UnavailableError
from pipeline.progress import Progress, silent
from pipeline.synonyms.validators.llm import REFUSED
from pipeline.synonyms.validators.prompt import INSTRUCTION, askable, question
from pipeline.synonyms.validators.proof import Question

_LARGEST = 1 << 20  # bytes of a response that are read
_FORMAT = ' JSON 객체 하나로만 답합니다: {"synonyms": true 또는 false, "confidence": 0에서 1 사이의 수}'
_RETRIED = {408, 409, 429, 500, 502, 503, 504}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class ServerValidator:
    """Asks ``<url>/chat/completions`` with temperature 0."""

    def __init__(
        self,
        url: str,
        model: str,
        *,
        timeout_s: float = 30.0,
        retries: int = 3,
        pause_s: float = 1.0,
        progress: Progress = silent,
    ) -> None:
        parsed = urllib.parse.urlsplit(url)
        if parsed.scheme not in ("http", "https") or not parsed.hostname or parsed.username or parsed.password:
            raise ConfigError(
                "synonyms.openai_url must be the server's http(s) address without a password, "
                "such as http://127.0.0.1:8000/v1"
            )
        if not model:
            raise ConfigError("synonyms.llm_model names no model: write the name that the server knows it by")
        self.name = f"openai:{model}"
        self._model, self._url = model, url.rstrip("/") + "/chat/completions"
        self._host = parsed.hostname
        self._timeout, self._retries, self._pause, self._progress = timeout_s, retries, pause_s, progress
        self._open = urllib.request.build_opener(_NoRedirect()).open

    def scores(self, questions: Sequence[Question]) -> list[float]:
        """Log-odds of the stated confidence; 0 (undecided) for a response in another format."""
        scores = []
        for number, pair in enumerate(questions, 1):
            allowed = askable(pair.a) and askable(pair.b)
            scores.append(self._ask(pair) if allowed else REFUSED)
            self._progress(f"questions to {self.name}", number, len(questions))
        return scores

    def _ask(self, pair: Question) -> float:
        body = {
            "model": self._model,
            "temperature": 0,
            "max_tokens": 40,
            "response_format": {"type": "json_object"},
            "messages": [
                {"role": "system", "content": INSTRUCTION + _FORMAT},
                {"role": "user", "content": question(pair.a, pair.b).rstrip()},
            ],
        }
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers)  # noqa: S310 (http, https)
        reason = ""
        for attempt in range(self._retries + 1):
            if attempt:
                time.sleep(self._pause * 2 ** (attempt - 1))
            try:
                with self._open(request, timeout=self._timeout) as response:
                    return _score(response.read(_LARGEST))
            except urllib.error.HTTPError as error:
                reason = f"status {error.code}"
                if error.code not in _RETRIED:
                    raise ConfigError(
                        f"the language model server at {self._host} refuses ({reason}): check synonyms.openai_url, "
                        "synonyms.llm_model and OPENAI_API_KEY"
                    ) from None  # the request, and with it the key, stays out of the trace
            except (OSError, http.client.HTTPException) as error:
                reason = str(getattr(error, "reason", error)) or type(error).__name__
        raise UnavailableError(f"the language model server at {self._host} does not answer ({reason}): try again later")


def _score(response: bytes) -> float:
    """The log-odds that a response states; 0 for anything but the requested JSON object."""
    try:
        content = json.loads(response)["choices"][0]["message"]["content"]
        stated = json.loads(content)
        same, confidence = stated["synonyms"], float(stated.get("confidence", 1.0))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        return 0.0
    if not isinstance(same, bool) or not math.isfinite(confidence) or not 0 <= confidence <= 1:
        return 0.0
    bounded = min(max(confidence, 0.5), 0.999)
    odds = math.log(bounded / (1 - bounded)) + 0.01  # a bare yes or no is still more than undecided
    return odds if same else -odds
