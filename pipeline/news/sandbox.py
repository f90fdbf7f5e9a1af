"""Processes that parse feeds and pages, with limits.

A malicious feed or page can keep its parser busy for hours or fill the memory, and a search in C holds every thread of
its process. So responses are parsed in child processes with limits of processor time and memory. A process that
exceeds one is killed, its feed gets an error, and the next response gets a new process. The children have no secrets in
their environment and cannot write files. They reply in JSON, which is validated and never executed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

import pipeline
from pipeline.config.news import NewsConfig
from pipeline.errors import BadInputError, UnavailableError
from pipeline.news.extraction import FeedJob, PageJob, ParsedFeed
from pipeline.news.sandbox_process import JOB, SIZE, Limits, Reply

_STARTS_WITHIN_S = 120.0
_LONGEST_REPLY = 500_000_000  # bytes
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class Sandbox:
    """At most ``news.read_processes`` parser processes, started when needed; an async context manager."""

    def __init__(self, config: NewsConfig) -> None:
        self.config = config
        self._turns = asyncio.Semaphore(config.read_processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._all: set[asyncio.subprocess.Process] = set()

    async def __aenter__(self) -> Sandbox:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(self._end(process) for process in list(self._all)))

    async def feed(self, job: FeedJob, body: bytes) -> ParsedFeed:
        """`pipeline.news.extraction.read_feed`; BadInputError also when it goes beyond the limits."""
        reply = await self._read(job, body)
        if reply.feed is None:
            raise UnavailableError("the parser process sent no response to its job")
        return reply.feed

    async def page(self, job: PageJob, body: bytes) -> str:
        """`pipeline.news.extraction.read_page`; BadInputError also when it goes beyond the limits."""
        reply = await self._read(job, body)
        if reply.page is None:
            raise UnavailableError("the parser process sent no response to its job")
        return reply.page

    async def _read(self, job: FeedJob | PageJob, body: bytes) -> Reply:
        async with self._turns:
            process = await self._take()
            try:
                # It ends itself by processor time; this is for one that waits for nothing, on a slow machine too.
                async with asyncio.timeout(10 * self.config.read_cpu_s + 30):
                    data = await _exchange(process, JOB.dump_json(job), body)
                reply = Reply.model_validate_json(data)
            except TimeoutError as error:
                await self._end(process)
                raise BadInputError("parsing it did not end and was stopped") from error
            except (EOFError, OSError) as error:
                raise BadInputError(self._why_dead(await self._end(process))) from error
            except ValidationError as error:
                await self._end(process)
                raise UnavailableError("the parser process sent an invalid response") from error
            except BaseException:
                await self._end(process)
                raise
            self._idle.append(process)
        if reply.failed:
            raise BadInputError(f"parsing it failed ({reply.failed})")  # a bug of ours, which fails this response alone
        if reply.refused:
            raise BadInputError(reply.refused)
        return reply

    async def _take(self) -> asyncio.subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
            self._all.discard(process)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        paths = [str(Path(pipeline.__path__[0]).parent), os.environ.get("PYTHONPATH", "")]
        environment |= {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "OPENBLAS_NUM_THREADS": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "pipeline.news.sandbox_process", env=environment, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        self._all.add(process)
        limits = Limits(cpu_s=self.config.read_cpu_s, memory_mb=self.config.read_memory_mb)
        try:
            async with asyncio.timeout(_STARTS_WITHIN_S):
                await _exchange(process, limits.model_dump_json().encode(), b"")
        except (EOFError, OSError, TimeoutError) as error:
            status = await self._end(process)
            raise UnavailableError(f"the parser process does not start (status {status})") from error
        except BaseException:
            await self._end(process)
            raise
        return process

    async def _end(self, process: asyncio.subprocess.Process) -> int:
        """Its exit status; the process is gone then."""
        self._all.discard(process)
        if process.stdin is not None:
            process.stdin.close()  # it ends with its input, and one that a limit has ended says so with its status
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                return await process.wait()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()

    def _why_dead(self, status: int) -> str:
        if status == -signal.SIGXCPU:
            return (
                f"parsing it took more than {self.config.read_cpu_s:g} s of processor time (news.read_cpu_s) "
                "and was stopped"
            )
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        return (
            f"the process that parsed it died ({how}): "
            f"it may want more than {self.config.read_memory_mb} MB of memory (news.read_memory_mb)"
        )


async def _exchange(process: asyncio.subprocess.Process, head: bytes, body: bytes) -> bytes:
    assert process.stdin is not None
    assert process.stdout is not None
    for part in (head, body):
        process.stdin.write(SIZE.pack(len(part)))
        process.stdin.write(part)
    await process.stdin.drain()
    (size,) = SIZE.unpack(await process.stdout.readexactly(SIZE.size))
    if size > _LONGEST_REPLY:
        raise EOFError(f"a response of {size} bytes")
    return await process.stdout.readexactly(size)
