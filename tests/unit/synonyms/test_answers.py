"""Answers of language models as they come: what can be read is read, the rest abstains; servers as they differ."""

from __future__ import annotations

import datetime as dt
import json
import math
import time
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.errors import ConfigError, UnavailableError
from pipeline.synonyms.validators.answer import read, read_content
from pipeline.synonyms.validators.proof import Abstention, Question
from pipeline.synonyms.validators.server import ServerValidator
from tests.unit.synonyms.llm_server import server

QUESTION = [Question("한국은행", "한은", {})]
YES = '{"synonyms": true, "confidence": 0.9}'
NO = '{"synonyms": false, "confidence": 0.9}'


@pytest.mark.parametrize(
    "content",
    [
        YES,
        f"```json\n{YES}\n```",
        f"```\n{YES}",
        f"답은 다음과 같습니다: {YES} 감사합니다.",
        f"<think>Maybe {NO}? No.</think>\n{YES}",
        f"Maybe {NO}.</think>{YES}",
        f"[THINK]{NO}[/THINK]{YES}",
        f"<|channel|>analysis<|message|>{NO}<|end|><|start|>assistant<|channel|>final<|message|>{YES}",
        f"\ufeff{YES}",
        f"[{YES}]",
        f'{{"result": {YES}}}',
        f"{YES}\n{YES}",
        json.dumps(YES),
        '{"synonyms": true, "confidence": 0.9,}',
        '{"synonyms": "true", "confidence": "0.9"}',
        '{"Synonyms": "True", "Confidence": 90}',
        '{"synonyms": True, "confidence": "90%"}',
        "{'synonyms': True, 'confidence': 90}",
        "{“synonyms”: TRUE, “confidence”: 0.9}",
        '{"synonyms": "예", "confidence": 0.9, "reason": "둘 다 {은행}"}',
        [{"type": "text", "text": YES[:9]}, {"type": "text", "text": YES[9:]}],
        [YES],
        json.loads(YES),
    ],
    ids=repr,
)
def test_what_can_be_read_is_read(content: Any) -> None:
    assert read_content(content) == pytest.approx(math.log(9) + 0.01)


@pytest.mark.parametrize("confidence", ["", ', "confidence": null', ', "confidence": 1', ', "confidence": 100'])
@pytest.mark.parametrize(("verdict", "sign"), [("true", 1), ('"no"', -1), ('"아니오."', -1)])
def test_a_verdict_without_doubt(verdict: str, sign: int, confidence: str) -> None:
    assert read_content(f'{{"synonyms": {verdict}{confidence}}}') == pytest.approx(sign * 6.917, abs=1e-3)


@pytest.mark.parametrize(
    "content",
    [
        "예", "", " ", None, [], [None], [{"type": "image"}], 3, "[]", "null", "true",
        "죄송하지만 답할 수 없습니다.", '{"confidence": 1}', '{"synonyms": null}', '{"synonyms": "maybe"}',
        '{"synonyms": [true]}', '{"synonyms": 2}', f"{YES} 또는 {NO}", '{"synonyms": true, "synonyms": false}',
        '{"synonyms": true, "confidence": 9}', '{"synonyms": true, "confidence": -1}',
        '{"synonyms": false, "confidence": 101}', '{"synonyms": false, "confidence": NaN}',
        '{"synonyms": false, "confidence": Infinity}', '{"synonyms": false, "confidence": 1e999}',
        f'{{"synonyms": false, "confidence": 1{"0" * 400}}}', f'{{"synonyms": false, "confidence": 1{"0" * 9000}}}',
        '{"synonyms": false, "confidence": "high"}', '{"synonyms": false, "confidence": true}',
        '{"synonyms": false, "confidence": [1]}', '{"synonyms": false, "confidence": 0.9', '{"synonyms": fal',
        f"<think>Perhaps {NO}", f"<think>a</think><think>{NO}", '{"a":' * 3000, "[" * 9000, "{" * 9000,
        '{"a":' * 3000 + NO + "}" * 3000, YES + " " * 30_000, '{"synonyms": true 또는 false, "confidence": 0에서 1}',
    ],
    ids=lambda content: repr(content)[:40],
)  # fmt: skip
def test_what_cannot_be_read_abstains(content: Any) -> None:
    assert isinstance(read_content(content), Abstention)


def body(content: Any = YES, finish: str = "stop", **message: Any) -> bytes:
    return json.dumps({"choices": [{"finish_reason": finish, "message": {"content": content, **message}}]}).encode()


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (b"", "no JSON"),
        (b"<html>Bad gateway</html>", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b'data: {"choices": []}\n\n', "no JSON"),
        (b'{"a":' * 100_000, "no JSON"),
        (b"[" * 200_000, "no JSON"),
        (b" " * (1 << 20), "longer than"),
        (b"[]", "no JSON object"),
        (b"{}", "no answer"),
        (b'{"choices": []}', "no answer"),
        (b'{"choices": [null]}', "no answer"),
        (b'{"choices": [{"message": null}]}', "no answer"),
        (b'{"choices": null, "error": {"message": "CUDA out of memory"}}', "status 200: CUDA out of memory"),
        (b'{"error": "model not loaded"}', "status 200: model not loaded"),
        (b'{"object": "error", "message": "bad"}', "status 200: bad"),
        (b'{"detail": [{"msg": "Field required"}]}', "status 200: Field required"),
        (body(None, refusal="I cannot"), "refused by the model"),
        (body(None), "empty"),
        (body('{"synonyms": fa', "length"), "cut off"),
        (body(None, "length", reasoning_content="hm"), "cut off"),
        (body(YES, "content_filter"), "content filter"),
    ],
)  # fmt: skip
def test_a_response_without_an_answer_names_its_reason(response: bytes, reason: str) -> None:
    answer = read(response)
    assert isinstance(answer, Abstention)
    assert reason in answer.reason


def test_an_answer_that_is_whole_at_the_limit_is_read() -> None:
    assert isinstance(read(body(YES, "length")), float)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["synonyms", "confidence", "a"]), inner)
    ),
    max_leaves=8,
)
PIECES = st.lists(
    st.sampled_from(
        [YES, NO, "{", "}", '"synonyms"', ":", "true", "false", ",", "<think>", "</think>", "```", "0.9", "'"]
    )
    | st.text(max_size=5)
).map("".join)


@given(JSON | PIECES, st.sampled_from(["stop", "length", None]))
@example('{"synonyms": false' + ',"a":[' * 9000, "stop")
def test_any_answer_is_read_or_abstains(content: Any, finish: str) -> None:
    for answer in (read(body(content, finish)), read(json.dumps(content).encode()), read_content(content)):
        assert isinstance(answer, Abstention) or (math.isfinite(answer) and answer != 0)
        if isinstance(answer, float):
            assert "synonyms" in json.dumps(content).casefold()


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_abstain(response: bytes) -> None:
    assert isinstance(read(response), Abstention)


def refusal(sentence: str) -> bytes:
    return json.dumps({"error": {"message": sentence, "type": "invalid_request_error"}}).encode()


@pytest.mark.parametrize(
    ("status", "said", "gone", "there"),
    [
        (400, refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."), "max_tokens",
         "max_completion_tokens"),
        (400, refusal("'response_format.type' must be 'json_schema' or 'text'"), "response_format", "max_tokens"),
        (400, refusal("This model does not support JSON mode"), "response_format", "max_tokens"),
        (422, b'{"detail": [{"loc": ["body"], "msg": "max_tokens: extra fields not permitted"}]}', "max_tokens",
         "response_format"),
        (500, refusal("failed to parse grammar"), "response_format", "max_tokens"),
        (400, refusal("Unsupported value: 'temperature' does not support 0"), "temperature", "max_tokens"),
        (400, b"unknown field response_format", "response_format", "max_tokens"),
        (400, b"", "response_format", "max_tokens"),
    ],
)  # fmt: skip
def test_a_refused_parameter_is_left_out_and_the_sentence_kept(status: int, said: bytes, gone: str, there: str) -> None:
    with server([(status, said), (200, YES)]) as (url, bodies, _):
        validator = ServerValidator(url, "m", pause_s=0)
        assert all(isinstance(score, float) for score in validator.scores(QUESTION * 2))
    assert len(bodies) == 3, "the second question is asked right at once"
    assert gone in bodies[0]
    for later in bodies[1:]:
        assert gone not in later
        assert there in later
    (note,) = validator.notes
    assert f"status {status}" in note


def test_several_refusals_and_a_model_without_a_system_message() -> None:
    refusals = [
        (400, refusal(name)) for name in ("response_format", "max_tokens", "temperature", "System role not supported")
    ]
    with server([*refusals, (200, YES)]) as (url, bodies, _):
        assert isinstance(ServerValidator(url, "m", pause_s=0).scores(QUESTION)[0], float)
    assert set(bodies[-1]) == {"model", "messages"}
    assert [message["role"] for message in bodies[-1]["messages"]] == ["user"]


def test_a_server_that_refuses_everything_is_shown_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret")
    with server([(400, refusal("max_tokens temperature response_format very-secret"))]) as (url, bodies, _):
        with pytest.raises(ConfigError, match="max_tokens temperature response_format") as refused:
            ServerValidator(url, "m", pause_s=0).scores(QUESTION)
        assert len(bodies) == 4
    assert "very-secret" not in str(refused.value)
    with server([(404, refusal("The model `m` does not exist"))]) as (url, bodies, _):
        with pytest.raises(ConfigError, match="The model `m` does not exist"):
            ServerValidator(url, "m", pause_s=0).scores(QUESTION)
        assert len(bodies) == 1


@pytest.mark.parametrize("status", [429, 503, 200])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_is_obeyed(status: int, as_date: bool) -> None:
    later = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=2), usegmt=True)
    said = b'{"error": {"code": 429, "message": "slow down"}}'
    with server([(status, said, {"Retry-After": later if as_date else "1"}), (200, YES)]) as (url, bodies, _):
        began = time.monotonic()
        assert isinstance(ServerValidator(url, "m", pause_s=0).scores(QUESTION)[0], float)
        assert 0.8 < time.monotonic() - began < 5
        assert len(bodies) == 2


@pytest.mark.parametrize("header", ["", "soon", "-5", "nan", "Thu, 01 Jan 1970 00:00:00 GMT", "Tue, 99 Foo"])
def test_a_retry_after_that_says_nothing_costs_nothing(header: str) -> None:
    with server([(429, b"", {"Retry-After": header}), (200, YES)]) as (url, _, _):
        began = time.monotonic()
        assert isinstance(ServerValidator(url, "m", pause_s=0).scores(QUESTION)[0], float)
        assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "answer",
    [(429, b"", {"Retry-After": "3600"}), (503, b""), (200, YES, {"X-Slow": "0.1"}), (200, YES, {"X-Slow": "2"})],
    ids=["asks to wait", "down", "slow", "silent"],
)  # fmt: skip
def test_the_time_limit_is_that_of_the_whole_question(answer: tuple[Any, ...]) -> None:
    with server([answer]) as (url, _, _):
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            ServerValidator(url, "m", timeout_s=1, retries=1000, pause_s=0.2).scores(QUESTION)
        assert time.monotonic() - began < 1.8
