"""One parser process: jobs arrive on standard input, responses leave on standard output, both as JSON.

It is started by `pipeline.news.sandbox`, limits itself before it sees anything from outside, and ends with its input.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import IO

from pydantic import BaseModel, ConfigDict, TypeAdapter

from pipeline.errors import BadInputError
from pipeline.news.extraction import FeedJob, PageJob, ParsedFeed, read_feed, read_page

SIZE = struct.Struct(">Q")  # each part (a job's head, its body, a response) follows its length


class Limits(BaseModel):
    """What one job may use; memory beyond what the process takes when it begins."""

    cpu_s: float
    memory_mb: int


class Reply(BaseModel):
    """What became of a job: at most one of these is set."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
    feed: ParsedFeed | None = None
    page: str | None = None
    refused: str = ""  # the sentence of a BadInputError
    failed: str = ""  # a bug of ours


JOB: TypeAdapter[FeedJob | PageJob] = TypeAdapter(FeedJob | PageJob)


def main() -> None:
    """Respond to jobs until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group: the parent decides
    jobs, responses = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not get between the responses
    limits = Limits.model_validate_json(_part(jobs))
    _part(jobs)
    epoch = dt.datetime.fromtimestamp(0, dt.UTC)
    read_feed(FeedJob("https://garam.invalid/", epoch), b"<rss version='2.0'/>")  # imports the parsers
    _limit_memory(limits)
    _respond(responses, Reply())
    with contextlib.suppress(EOFError):
        while True:
            job, body = JOB.validate_json(_part(jobs)), _part(jobs)
            _limit_time(limits)
            _respond(responses, _work(job, body, limits))
            del body


def _work(job: FeedJob | PageJob, body: bytes, limits: Limits) -> Reply:
    try:
        if isinstance(job, FeedJob):
            return Reply(feed=read_feed(job, body))
        return Reply(page=read_page(job, body))
    except BadInputError as error:
        return Reply(refused=str(error))
    except MemoryError:
        return Reply(refused=f"parsing it takes more than {limits.memory_mb} MB of memory (news.read_memory_mb)")
    except Exception as error:
        return Reply(failed=f"{type(error).__name__}: {str(error)[:200]}")


def _limit_memory(limits: Limits) -> None:
    """Address space of now and ``memory_mb`` more; no files, no core dumps. What a system does not know stays open."""
    now = 0
    with contextlib.suppress(OSError):
        now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    for what, most in [
        (resource.RLIMIT_AS, (now or 2**30) + limits.memory_mb * 2**20), (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ]:  # fmt: skip
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def _limit_time(limits: Limits) -> None:
    """The processor time used so far and ``cpu_s`` more; beyond it the system ends the process (SIGXCPU)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(used.ru_utime + used.ru_stime + limits.cpu_s)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def _part(file: IO[bytes]) -> bytes:
    (size,) = SIZE.unpack(_exactly(file, SIZE.size))
    return _exactly(file, size)


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise EOFError
    return data


def _respond(file: IO[bytes], reply: Reply) -> None:
    data = reply.model_dump_json().encode()
    file.write(SIZE.pack(len(data)) + data)
    file.flush()


if __name__ == "__main__":
    main()
