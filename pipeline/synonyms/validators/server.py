"""An OpenAI-compatible server as validator: one request and one JSON response for each pair.

The key comes from the environment (OPENAI_API_KEY) and goes nowhere but into the request's header. Redirects are not
followed: the address that was configured is the only one that gets the key.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from pipeline.errors import ConfigError, UnavailableError
from pipeline.progress import Progress, silent
from pipeline.synonyms.validators.llm import REFUSED
from pipeline.synonyms.validators.prompt import INSTRUCTION, askable, question
from pipeline.synonyms.validators.proof import Question

_LARGEST = 1 << 20  # bytes of a response that are read
_FORMAT = ' JSON 객체 하나로만 답합니다: {"synonyms": true 또는 false, "confidence": 0에서 1 사이의 수}'
_RETRIED = {408, 409, 429, 500, 502, 503, 504}


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
        parsed = urlsplit(url)
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
        self._timeout, self._progress = timeout_s, progress
        self._retrying = Retrying(
            stop=stop_after_attempt(retries + 1), wait=wait_exponential(pause_s),
            retry=retry_if_exception_type(UnavailableError), reraise=True,
        )  # fmt: skip

    def scores(self, questions: Sequence[Question]) -> list[float]:
        """Log-odds of the stated confidence; 0 (undecided) for a response in another format."""
        scores = []
        with httpx.Client(timeout=self._timeout, follow_redirects=False) as client:
            for number, pair in enumerate(questions, 1):
                allowed = askable(pair.a) and askable(pair.b)
                scores.append(self._retrying(self._ask, client, pair) if allowed else REFUSED)
                self._progress(f"questions to {self.name}", number, len(questions))
        return scores

    def _ask(self, client: httpx.Client, pair: Question) -> float:
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
        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            with client.stream("POST", self._url, json=body, headers=headers) as response:
                if response.is_success:
                    return _score(_start(response))
                status = response.status_code
        except httpx.HTTPError as error:
            raise self._unavailable(str(error) or type(error).__name__) from None
        if status in _RETRIED:
            raise self._unavailable(f"status {status}")
        raise ConfigError(
            f"the language model server at {self._host} refuses (status {status}): check synonyms.openai_url, "
            "synonyms.llm_model and OPENAI_API_KEY"
        )

    def _unavailable(self, reason: str) -> UnavailableError:
        return UnavailableError(
            f"the language model server at {self._host} does not answer ({reason}): try again later"
        )


def _start(response: httpx.Response) -> bytes:
    """The first `_LARGEST` bytes of the body."""
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) >= _LARGEST:
            break
    return bytes(body[:_LARGEST])


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
