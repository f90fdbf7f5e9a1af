"""An OpenAI-compatible server as validator: one request and one JSON response for each pair.

The key comes from the environment (OPENAI_API_KEY) and goes nowhere but into the request's header. Redirects are not
followed: the address that was configured is the only one that gets the key.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
import time
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_any,
    stop_before_delay,
    wait_exponential,
)

from pipeline.errors import ConfigError, UnavailableError
from pipeline.progress import Progress, silent
from pipeline.synonyms.validators.answer import LONGEST, error_sentence, read
from pipeline.synonyms.validators.llm import REFUSED
from pipeline.synonyms.validators.prompt import INSTRUCTION, askable, question
from pipeline.synonyms.validators.proof import Abstention, Question

_FORMAT = ' JSON 객체 하나로만 답합니다: {"synonyms": true 또는 false, "confidence": 0에서 1 사이의 수}'
_RETRIED = {408, 409, 425, 429, 500, 502, 503, 504, 529}
_MOST_TOKENS = 512  # of an answer: the object takes 20, a fence or a short thought around it the rest


class _TransientError(UnavailableError):
    """A failure that another attempt may not meet; ``wait_s`` is what the server asks to wait before it."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class ServerValidator:
    """Asks ``<url>/chat/completions`` with temperature 0.

    ``timeout_s`` is the time limit of a question, with all its attempts. A parameter that the server refuses is left
    out from then on, and ``notes`` has the server's sentence about it.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        timeout_s: float = 120.0,
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
        self._pause, self._attempts = pause_s, retries + 1
        self.notes: list[str] = []
        self._options: dict[str, Any] = {
            "temperature": 0, "max_tokens": _MOST_TOKENS, "response_format": {"type": "json_object"}
        }  # fmt: skip
        self._system = True  # whether the instruction is a message of its own

    def scores(self, questions: Sequence[Question]) -> list[float | Abstention]:
        """Log-odds of the stated confidence, or an abstention where the answer cannot be read (`answer.read`)."""
        scores: list[float | Abstention] = []
        with httpx.Client(follow_redirects=False) as client:
            for number, pair in enumerate(questions, 1):
                allowed = askable(pair.a) and askable(pair.b)
                scores.append(self._score(client, pair) if allowed else REFUSED)
                self._progress(f"questions to {self.name}", number, len(questions))
        return scores

    def _score(self, client: httpx.Client, pair: Question) -> float | Abstention:
        deadline = time.monotonic() + self._timeout
        backoff = wait_exponential(self._pause)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return max(backoff(state), error.wait_s if isinstance(error, _TransientError) else 0.0)

        retrying = Retrying(
            stop=stop_any(stop_after_attempt(self._attempts), stop_before_delay(self._timeout)), wait=wait,
            retry=retry_if_exception_type(_TransientError), reraise=True,
        )  # fmt: skip
        return retrying(self._attempt, client, pair, deadline)

    def _attempt(self, client: httpx.Client, pair: Question, deadline: float) -> float | Abstention:
        while True:  # each round leaves out, or replaces, a parameter that the server refused
            response, body = self._post(client, pair, deadline)
            sentence = error_sentence(_json(body))
            if response.is_success:
                code = _error_code(body)
                if code in _RETRIED:
                    raise self._unavailable(f"status 200 with error {code}: {sentence}", _retry_after(response))
                return read(body)
            if response.status_code not in {401, 403, 429} and self._adapt(response.status_code, sentence):
                continue
            said = f"status {response.status_code}" + (f": {self._without_key(sentence)}" if sentence else "")
            if response.status_code in _RETRIED:
                raise self._unavailable(said, _retry_after(response))
            raise ConfigError(
                f"the language model server at {self._host} refuses ({said}): check synonyms.openai_url, "
                "synonyms.llm_model and OPENAI_API_KEY"
            )

    def _post(self, client: httpx.Client, pair: Question, deadline: float) -> tuple[httpx.Response, bytes]:
        instruction, asked = INSTRUCTION + _FORMAT, question(pair.a, pair.b).rstrip()
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": asked}]
        if not self._system:
            messages = [{"role": "user", "content": f"{instruction}\n\n{asked}"}]
        key = os.environ.get("OPENAI_API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        received = bytearray()
        try:
            with client.stream(
                "POST", self._url, json={"model": self._model, **self._options, "messages": messages}, headers=headers,
                timeout=max(0.001, deadline - time.monotonic()),
            ) as response:  # fmt: skip
                for chunk in response.iter_bytes():
                    received += chunk
                    if time.monotonic() > deadline:
                        raise httpx.ReadTimeout("too slow")
                    if len(received) >= LONGEST:
                        break
        except httpx.HTTPError as error:
            if time.monotonic() >= deadline:
                raise UnavailableError(self._sentence(f"no whole answer within {self._timeout:g} s")) from None
            raise self._unavailable(str(error) or type(error).__name__) from None
        return response, bytes(received[:LONGEST])

    def _adapt(self, status: int, sentence: str) -> bool:
        """Whether there is another way to ask, after a refusal that names a parameter or (400, 422, 501) names none."""
        lower, options = sentence.casefold(), self._options
        named = [name for name in options if name in lower]
        if "response_format" not in named and re.search("json_object|json_schema|grammar|json mode", lower):
            named.append("response_format")
        if self._system and re.search(r"system (role|message|prompt|instruction)|roles? must alternate", lower):
            self._system, changed = False, "the instruction stands in the question"
        elif "max_tokens" in options and "max_completion_tokens" in lower:
            del options["max_tokens"]
            options["max_completion_tokens"], changed = _MOST_TOKENS, "max_completion_tokens in place of max_tokens"
        elif named := [name for name in named if name in options]:
            del options[named[0]]
            changed = f"asked without {named[0]}"
        elif status in {400, 422, 501} and not sentence and options:
            changed = f"asked without {options.popitem()[0]}"
        else:
            return False
        said = self._without_key(sentence) or "without a reason"
        self.notes.append(f"the language model server at {self._host} refused (status {status}: {said}); {changed}")
        return True

    def _without_key(self, sentence: str) -> str:
        key = os.environ.get("OPENAI_API_KEY")
        return sentence.replace(key, "***") if key else sentence

    def _sentence(self, reason: str) -> str:
        return f"the language model server at {self._host} does not answer ({reason}): try again later"

    def _unavailable(self, reason: str, wait_s: float = 0.0) -> _TransientError:
        asks = f"; it asks to wait {wait_s:.0f} s" if wait_s else ""
        return _TransientError(self._sentence(reason + asks), wait_s)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace") if not body.lstrip().startswith(b"<") else ""


def _error_code(body: bytes) -> int | None:
    """The status that an error inside a response with status 200 states."""
    stated = _json(body)
    error = stated.get("error") if isinstance(stated, dict) and not stated.get("choices") else None
    code = error.get("code") if isinstance(error, dict) else None
    return int(code) if isinstance(code, int) or (isinstance(code, str) and re.fullmatch(r"\d{3}", code)) else None


def _retry_after(response: httpx.Response) -> float:
    """The seconds that Retry-After asks for, as a number or as a date; 0 without it."""
    stated = response.headers.get("retry-after", "").strip()
    try:
        seconds = float(stated)
    except ValueError:
        try:
            date = parsedate_to_datetime(stated)
        except (ValueError, TypeError):
            return 0.0
        seconds = (date.replace(tzinfo=date.tzinfo or dt.UTC) - dt.datetime.now(dt.UTC)).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else 0.0
