"""Reading a language model's answer: the log-odds that it states, or an abstention with its reason.

An answer is read where it states one verdict and nothing else could be meant: in a code fence, behind a thought, with a
trailing comma, ``"true"`` for true, ``95`` or ``"95%"`` for .95. Anything else abstains: it is never a verdict.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pipeline.synonyms.validators.proof import Abstention

LONGEST = 1 << 20  # bytes of a response that are read
_LONGEST_TEXT = 20_000  # characters of an answer that are searched: the requested object is a line
_MOST_OBJECTS = 50  # opening brackets that are tried in it
_WORDS = {
    "true": True,
    "yes": True,
    "예": True,
    "네": True,
    "false": False,
    "no": False,
    "아니오": False,
    "아니요": False,
}
_TAGS = "think|thinking|thought|reasoning|analysis|reflection|scratchpad"
_THOUGHT_BEGINS = re.compile(
    rf"<(?:{_TAGS})\b[^>]*>|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|channel\|>(?!final)", re.IGNORECASE
)
_THOUGHT_ENDS = re.compile(
    rf"</(?:{_TAGS})>|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|channel\|>final[^<]*<\|message\|>", re.IGNORECASE
)
# Forms that are no JSON and can mean one thing only: Python's literals, typographic quotes, a comma behind the last.
_REPAIRS = (
    (re.compile("[“”„‟]"), '"'),
    (re.compile(r"'(\w+)'"), r'"\1"'),
    (re.compile(r"(?<=:)\s*None\b"), "null"),
    (re.compile(r"(?<=:)\s*(?:true|false)\b", re.IGNORECASE), lambda found: found[0].lower()),
    (re.compile(r",(\s*})"), r"\1"),
)  # fmt: skip


class _TwiceError(ValueError):
    """An object that gives one key twice."""


def read(response: bytes) -> float | Abstention:
    """The log-odds stated by the body of an answer of ``chat/completions``, or an abstention."""
    if len(response) >= LONGEST:
        return Abstention(f"longer than {LONGEST:,} bytes")
    try:
        body = json.loads(response)
    except (ValueError, RecursionError):
        return Abstention("no JSON from the server")
    if not isinstance(body, dict):
        return Abstention("no JSON object from the server")
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        sentence = error_sentence(body)
        return Abstention(f"an error with status 200: {sentence}" if sentence else "no answer in the response")
    choice, message = choices[0], choices[0].get("message")
    if not isinstance(message, dict):
        return Abstention("no answer in the response")
    if choice.get("finish_reason") == "content_filter":
        return Abstention("stopped by the server's content filter")
    if message.get("refusal"):
        return Abstention("refused by the model")
    answer = read_content(message.get("content"))
    if isinstance(answer, Abstention) and choice.get("finish_reason") == "length":
        return Abstention("cut off at the limit of tokens")
    return answer


def read_content(content: Any) -> float | Abstention:
    """The log-odds stated by the content of a message: text, a list of parts of text, or the object itself."""
    if isinstance(content, list):
        parts = [
            part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | dict)
        ]
        content = "".join(part for part in parts if isinstance(part, str))
    if isinstance(content, dict):
        return _odds(content)
    if not isinstance(content, str) or not content.strip():
        return Abstention("empty")
    if len(content) > _LONGEST_TEXT:
        return Abstention(f"longer than {_LONGEST_TEXT:,} characters")
    *_, text = _THOUGHT_ENDS.split(content)
    if _THOUGHT_BEGINS.search(text):
        return Abstention("a thought without an end")
    if text.strip().startswith('"'):  # JSON written as a JSON string
        try:
            unquoted = json.loads(text)
            text = unquoted if isinstance(unquoted, str) else text
        except ValueError:
            pass
    try:
        stated = _objects(text) or _objects(_repaired(text))
    except _TwiceError:
        return Abstention("several verdicts")
    if not stated:
        return Abstention("not in the requested form")
    scores = {_odds(one) for one in stated}
    return scores.pop() if len(scores) == 1 else Abstention("several verdicts")


def error_sentence(body: Any) -> str:
    """What a server says is wrong, from the places where OpenAI, vLLM, llama.cpp, Ollama and FastAPI put it."""
    for _ in range(4):
        if isinstance(body, list):
            body = body[0] if body else ""
        elif isinstance(body, dict):
            body = next((body[key] for key in ("error", "detail", "message", "msg") if body.get(key)), "")
        else:
            break
    return " ".join(body.split())[:300] if isinstance(body, str) else ""


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text that state a verdict."""
    decoder, stated, at = json.JSONDecoder(object_pairs_hook=_once), [], text.find("{")
    for _ in range(_MOST_OBJECTS):
        if at < 0:
            break
        try:
            value, end = decoder.raw_decode(text, at)
        except _TwiceError:
            raise
        except (ValueError, RecursionError):
            value, end = {}, at + 1
        if "synonyms" in value:
            stated.append(value)
        else:
            end = at + 1  # the verdict may be inside
        at = text.find("{", end)
    return stated


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = {key.strip().casefold(): value for key, value in pairs}
    if len(made) < len(pairs) and "synonyms" in made:
        raise _TwiceError
    return made


def _repaired(text: str) -> str:
    for pattern, replacement in _REPAIRS:
        text = pattern.sub(replacement, text)
    return text


def _odds(stated: dict[str, Any]) -> float | Abstention:
    same, confidence = stated.get("synonyms"), stated.get("confidence")
    if isinstance(same, str):
        same = _WORDS.get(same.strip().strip(".").casefold())
    if not isinstance(same, bool):
        return Abstention("its verdict is neither true nor false")
    share = 1.0 if confidence is None else _share(confidence)
    if share is None:
        return Abstention("its confidence is no number from 0 to 1")
    bounded = min(max(share, 0.5), 0.999)
    odds = math.log(bounded / (1 - bounded)) + 0.01  # a bare yes or no is still more than undecided
    return odds if same else -odds


def _share(confidence: Any) -> float | None:
    """A stated confidence from 0 to 1; without a percent sign, 50 to 100 are percent, and 1 to 50 could be anything."""
    if isinstance(confidence, bool) or not isinstance(confidence, int | float | str):
        return None
    percent = isinstance(confidence, str) and confidence.strip().endswith("%")
    try:
        value = float(confidence.strip().removesuffix("%")) if isinstance(confidence, str) else float(confidence)
    except (ValueError, OverflowError):
        return None
    if percent or 50 <= value <= 100:
        value /= 100
    return value if math.isfinite(value) and 0 <= value <= 1 else None
