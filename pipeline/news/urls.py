"""One address for one article: the canonical url that is its identity.

Why not courlan: of the 14 forms of one address in the tests it brings 5 into one form (it keeps http, fragments, mobile
and AMP hosts and pages, AMP caches, passwords, a trailing dot), turns "a b.kr" into "ab.kr" instead of refusing it, and
leaves host names in Unicode. It is as fast as ours.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit, urlunsplit

LONGEST = 2000  # characters of a url that is taken

# Query keys that say where a reader came from, never which article is meant.
_TRACKING = re.compile(
    r"^(?:utm_.*|fbclid|gclid|gbraid|wbraid|dclid|msclkid|yclid|igshid|igsh|mc_[ce]id|mkt_tok|_ga|_gl|ns_.*|ncid|"
    r"cmpid|cmp|ito|ref|refer|referer|referrer|ref_src|rss|from|input|source|src|sid_src|share|sharefrom|spm|"
    r"pos_from|cp|cloc|nclick|n_cid|kakao_.*|wt_.*|at_(?:medium|campaign)|xtor|outputtype|amp|_x_tr_.*)$",
    re.IGNORECASE,
)
# Of those, what some sites do use to tell articles apart stays when nothing else in the url does.
_WEAK = {"ref", "source", "src", "from", "cp", "rss", "share", "input"}
_SECOND_LEVEL = {"co", "or", "go", "ac", "ne", "re", "pe", "com", "net", "org"}
_AMP_CACHE = re.compile(
    r"^https?://(?:www\.)?google\.[a-z.]+/amp/(?:s/)?(?P<rest>.+)$|"
    r"^https?://[a-z0-9-]+\.cdn\.ampproject\.org/[a-z]/(?:s/)?(?P<cdn>.+)$",
    re.IGNORECASE,
)
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*")
_LOOPBACK = re.compile(r"^(?:localhost|127(?:\.\d+){3}|\[::1\])$")
_ALLOWED_PATH = "/:@!$&'()*+,;=~-._"


def absolute(link: str, base: str) -> str:
    """``link`` as found in a feed at ``base``, made absolute; empty when it leads to nothing on the web."""
    link = re.sub(r"[\x00-\x20\x7f\u200b\ufeff]+", "" if "://" in link else " ", link).strip()
    if not link:
        return ""
    try:
        joined = urljoin(base, link)
        parts = urlsplit(joined)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return ""
    if parts.scheme.lower() not in {"http", "https"} or not host or len(joined) > LONGEST:
        return ""
    return joined


def canonical(url: str) -> str:
    """The one form of an article's address: https, no tracking, no fragment, the desktop page instead of its
    mobile or AMP twin.

    Raises ValueError for anything but an absolute http(s) address of at most 2,000 characters. Idempotent.
    """
    before = None
    for _ in range(5):
        if url == before:
            break
        try:
            before, url = url, _once(url)
        except UnicodeError as error:  # halves of a surrogate pair
            raise ValueError(f"{url[:200]!a} is not an address of the web") from error
    return url


def _once(url: str) -> str:
    url = url.strip()
    cached = _AMP_CACHE.match(url)
    if cached:
        url = "https://" + (cached["rest"] or cached["cdn"])
    parts = urlsplit(url)
    scheme, host, port = parts.scheme.lower(), (parts.hostname or "").rstrip("."), parts.port
    if scheme not in {"http", "https"} or not host or len(url) > LONGEST:
        raise ValueError(f"{url[:200]!r} is not an address of the web")
    host = _host(host)
    if _LOOPBACK.match(host):  # the replay server's own: nothing to guess
        netloc = f"{host}:{port}" if port else host
    elif port in {None, 80, 443}:
        scheme, netloc = "https", host
    else:
        netloc = f"{host}:{port}"
    path = quote(unquote(parts.path or "/", errors="surrogateescape"), safe=_ALLOWED_PATH, errors="surrogateescape")
    path = re.sub(r"/{2,}", "/", path)
    path = re.sub(r"(?<=[^/])(?:/amp/?|\.amp|/amp\.html?)$", "", path) or "/"
    path = re.sub(r"^/amp/(?=.)", "/", path)
    path = re.sub(r"/articleViewAmp(?=\.html$)", "/articleView", path)  # of the system that many Korean outlets run
    return urlunsplit((scheme, netloc, path, _query(parts.query, path), ""))


def host(url: str) -> str:
    """The host that a URL is fetched from, in the one form by which hosts are told apart: ASCII, lower case.

    ValueError where it is no host name.
    """
    name = (urlsplit(url).hostname or "").rstrip(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError as error:
        raise ValueError(f"{name[:100]!r} is not a host name") from error


def _host(host: str) -> str:
    if ":" in host:
        return f"[{host}]"
    try:
        host = host.encode("idna").decode("ascii").lower() if not host.isascii() else host.lower()
    except UnicodeError as error:
        raise ValueError(f"{host!r} is not a host name") from error
    if not _HOST.fullmatch(host):
        raise ValueError(f"{host[:100]!r} is not a host name")
    labels = host.split(".")
    if len(labels) > 2 and labels[0] in {"m", "mobile", "amp"}:
        rest = labels[1:]
        registrable = len(rest) == 2 or (len(rest) == 3 and rest[1] in _SECOND_LEVEL and len(rest[2]) == 2)
        # m.garam.co.kr is the twin of www.garam.co.kr, m.news.garam.co.kr that of news.garam.co.kr.
        host = ".".join((["www"] if registrable else []) + rest)
    return host


def _query(query: str, path: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    kept = [(k, v) for k, v in pairs if not _TRACKING.match(k)]
    if not kept and not re.search(r"\d", path):
        kept = [(k, v) for k, v in pairs if k.lower() in _WEAK and re.search(r"\d{4,}", v)]
    return urlencode(sorted(kept), errors="surrogateescape")


def day_in(url: str) -> tuple[int, int, int] | None:
    """(year, month, day) in an article's path, as most Korean outlets write it (``/2026/02/15/``, ``20260215...``)."""
    path = urlsplit(url).path
    found = re.search(r"/(20[0-4]\d)[/-]?(0[1-9]|1[0-2])[/-]?(0[1-9]|[12]\d|3[01])(?=\d{4,10}\D*$|/|$|\D)", path)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
