"""Fetching from the open web without being led anywhere else.

Every address, also one that a redirect leads to, is resolved here, checked, and connected to by the very number that
was checked, so a name that changes its answer between check and use (DNS rebinding) gains nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx

from pipeline.config.news import NewsConfig
from pipeline.errors import BadInputError, GaramError, UnavailableError
from pipeline.news import urls

_REDIRECTS = {301, 302, 303, 307, 308}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Of no open network either, whatever the release of Python that is asked thinks: site-local, documentation, the
# protocols' own, relays, segment routing.
_NOT_OPEN = tuple(
    map(
        ipaddress.ip_network,
        ("fec0::/10", "3fff::/20", "5f00::/16", "64:ff9b:1::/48", "192.0.0.0/24", "192.88.99.0/24"),
    )
)
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForbiddenAddressError(GaramError):
    """The address lies in a network that the crawler must not reach."""


@dataclass(slots=True)
class Response:
    """What a server said. ``body`` is unpacked; ``url`` is where it came from in the end."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    moved_to: str = ""  # set when every redirect was a permanent one
    loopback: bool = False  # it came from this very machine


@dataclass
class _Host:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    free_at: float = 0.0
    delay_s: float = 0.0


class _Budget:
    """Seconds that the servers of one response may take in all; waiting for a host's turn takes nothing of it."""

    def __init__(self, seconds: float) -> None:
        self.left = seconds

    @contextlib.asynccontextmanager
    async def spend(self) -> AsyncIterator[None]:
        started = time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, self.left)):
                yield
        finally:
            self.left -= time.monotonic() - started


class Fetcher:
    """An HTTP client for one crawl; use it as an async context manager."""

    def __init__(self, config: NewsConfig) -> None:
        self.config = config
        self._hosts: dict[str, _Host] = defaultdict(_Host)
        self._client = httpx.AsyncClient(
            # trust_env=False: a proxy would resolve names itself, behind the back of the check.
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(config.total_timeout_s, connect=config.connect_timeout_s),
            # No connection is kept: the pool knows them by address, and two sites of one address (a CDN) must never
            # share one, whose certificate was checked for the first of them.
            limits=httpx.Limits(max_connections=config.concurrency * 2, max_keepalive_connections=0),
            headers={"User-Agent": config.user_agent, "Accept-Encoding": "gzip, deflate"},
        )

    async def __aenter__(self) -> Fetcher:
        return self

    async def __aexit__(self, *args: object) -> None:
        await self._client.aclose()

    def slow_down(self, url: str, delay_s: float) -> None:
        """Wait at least ``delay_s`` seconds between requests to the host of a URL (its robots.txt asks for it)."""
        host = urls.host(url)
        self._hosts[host].delay_s = max(self._hosts[host].delay_s, delay_s)

    async def get(
        self, url: str, headers: Mapping[str, str] | None = None, *, max_bytes: int | None = None, allowed: Any = None
    ) -> Response:
        """GET with redirects, within the limits of the configuration.

        ``allowed`` is an async callable of an address, asked before each redirect is followed (robots.txt); it raises
        to refuse. Raises UnavailableError (unreachable, too slow), BadInputError (too large, redirects in a circle) or
        ForbiddenAddressError, each with a sentence.
        """
        try:
            return await self._follow(url, dict(headers or {}), max_bytes or self.config.max_bytes, allowed)
        except TimeoutError as error:
            raise UnavailableError(f"no whole response within {self.config.total_timeout_s:g} s") from error

    async def _follow(self, url: str, headers: dict[str, str], max_bytes: int, allowed: Any) -> Response:
        seen: list[str] = []
        permanent, first = True, url
        budget = _Budget(self.config.total_timeout_s)
        while True:
            if url in seen:
                raise BadInputError(f"its redirects go in a circle at {url[:200]}")
            seen.append(url)
            if len(seen) > self.config.max_redirects + 1:
                raise BadInputError(f"it redirects more than {self.config.max_redirects} times")
            response = await self._one(url, headers, max_bytes, budget)
            location = response.headers.get("location", "")
            if response.status not in _REDIRECTS or not location:
                response.moved_to = url if permanent and url != first else ""
                return response
            permanent = permanent and response.status in {301, 308}
            try:
                url = urljoin(url, location)
                urlsplit(url).port  # noqa: B018 - a bad port raises
            except ValueError as error:
                raise BadInputError(f"it redirects to {location[:200]!r}, which is no address") from error
            if allowed is not None:
                await allowed(url)

    async def _one(self, url: str, headers: dict[str, str], max_bytes: int, budget: _Budget) -> Response:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ForbiddenAddressError(f"only http and https are fetched, not {url[:200]!r}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        try:
            host = urls.host(url)
        except ValueError as error:
            raise BadInputError(str(error)) from error
        async with budget.spend():
            address = await self.resolve(host, port)
        netloc = f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
        pinned = parts._replace(netloc=netloc, fragment="").geturl()
        named = f"[{host}]" if ":" in host else host
        host_header = named if parts.port is None else f"{named}:{parts.port}"
        try:
            async with self._turn(host, address), budget.spend():
                request = self._client.build_request(
                    "GET", pinned, headers={**headers, "Host": host_header}, extensions={"sni_hostname": host}
                )
                response = await self._client.send(request, stream=True)
                self._client.cookies.clear()  # for the same reason: they would go to whoever shares the address
                try:
                    body = await _read(response, max_bytes)
                finally:
                    await response.aclose()
        except httpx.HTTPError as error:
            raise UnavailableError(f"{host} does not answer as HTTP should ({_why(error)})") from error
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise BadInputError(f"{url[:200]!r} cannot be asked for ({_why(error)})") from error
        named_headers = {k.lower(): v for k, v in response.headers.items()}
        return Response(url, response.status_code, named_headers, body, loopback=address.is_loopback)

    @contextlib.asynccontextmanager
    async def _turn(self, host: str, address: Address) -> AsyncIterator[None]:
        """One request at a time to a host, with a pause in between; our own loopback needs none."""
        if address.is_loopback:
            yield
            return
        state = self._hosts[host]
        async with state.lock:
            await asyncio.sleep(max(0.0, state.free_at - time.monotonic()))
            try:
                yield
            finally:
                state.free_at = time.monotonic() + max(self.config.host_delay_s, state.delay_s)

    async def resolve(self, host: str, port: int) -> Address:
        """The address to connect to: the first of a name whose addresses are all fit to be reached."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise UnavailableError(f"the name {host[:100]} is not known ({_why(error)})") from error
        addresses = [ipaddress.ip_address(str(item[4][0]).split("%")[0]) for item in found]
        if not addresses:
            raise UnavailableError(f"the name {host[:100]} has no address")
        for address in addresses:
            if not self.permitted(address):
                hint = "; set news.allow_loopback to fetch from it" if address.is_loopback else ""
                raise ForbiddenAddressError(
                    f"{host[:100]} is at {address}, in a network that is not fetched from{hint}"
                )
        return addresses[0]

    def permitted(self, address: Address) -> bool:
        """Whether an address is of the open internet (or loopback, where that is allowed)."""
        if isinstance(address, ipaddress.IPv6Address):
            inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
            if inner is None and address in _NAT64:
                inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
            if inner is not None:
                return self.permitted(inner) and not inner.is_loopback
        if address.is_loopback:
            return self.config.allow_loopback
        closed = address.is_multicast or address.is_reserved or any(address in network for network in _NOT_OPEN)
        return address.is_global and not closed


async def _read(response: httpx.Response, max_bytes: int) -> bytes:
    """The body, unpacked no further than ``max_bytes``: a decompression bomb stops there."""
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding not in {"", "identity", "gzip", "x-gzip", "deflate"}:
        raise BadInputError(f"its response is packed as {coding[:40]!r}, which was not asked for")
    packed = coding not in {"", "identity"}
    unpack: Any = zlib.decompressobj(47 if coding != "deflate" else 15) if packed else None
    pieces, size, raw_size = [], 0, 0
    async for chunk in response.aiter_raw(65536):
        raw_size += len(chunk)
        if packed:
            if raw_size == len(chunk) and coding == "deflate" and chunk and chunk[0] & 0x0F != 8:
                unpack = zlib.decompressobj(-15)  # "deflate" without its wrapper, as some servers send it
            try:
                chunk = unpack.decompress(chunk, max_bytes - size + 1)
            except zlib.error as error:
                raise BadInputError(f"its packed response is damaged ({error})") from error
        pieces.append(chunk)
        size += len(chunk)
        if size > max_bytes or raw_size > max_bytes:
            raise BadInputError(f"its response is larger than {max_bytes:,} bytes (news.max_bytes)")
    if packed and raw_size and not unpack.eof:
        raise UnavailableError("its packed response was cut off")
    return b"".join(pieces)


def _why(error: Exception) -> str:
    return " ".join(f"{type(error).__name__} {error}".split())[:150].strip()
