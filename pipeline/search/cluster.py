"""One OpenSearch cluster: calls, what their failures mean, readiness, aliases and bulk-free index operations."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from pipeline.errors import ConfigError, GaramError, UnavailableError

TIMEOUT_S = 60.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}
_NOT_YET = (429, 502, 503, 504)


class ClusterError(GaramError):
    """OpenSearch refused a request: ``status`` is the HTTP status, ``reason`` its own words."""

    def __init__(self, what: str, status: int, reason: str) -> None:
        super().__init__(f"OpenSearch refused {what} with status {status}: {reason}")
        self.status = status
        self.reason = reason


def credentials(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password from GARAM_OPENSEARCH_USER and GARAM_OPENSEARCH_PASSWORD or its _FILE; None without a user."""
    user = environ.get("GARAM_OPENSEARCH_USER")
    if not user:
        return None
    password, file = environ.get("GARAM_OPENSEARCH_PASSWORD"), environ.get("GARAM_OPENSEARCH_PASSWORD_FILE")
    if password is None and file:
        try:
            password = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(
                f"GARAM_OPENSEARCH_PASSWORD_FILE names {file}, which cannot be read: {error.strerror}"
            ) from error
    if not password:
        raise ConfigError(
            "GARAM_OPENSEARCH_USER is set without GARAM_OPENSEARCH_PASSWORD or GARAM_OPENSEARCH_PASSWORD_FILE"
        )
    return user, password


class Cluster:
    """A cluster at ``url`` (``http://`` on loopback, else ``https://`` with its certificate checked).

    User and password come from the environment (`credentials`), a private certificate authority from
    GARAM_OPENSEARCH_CA (a PEM file). Every method raises UnavailableError where the cluster does not answer or is too
    busy, ConfigError where it does not accept the user, ClusterError where it refuses the request.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, environ: Mapping[str, str] | None = None) -> None:
        from opensearchpy import OpenSearch

        # The driver warns of every 404; here a missing thing is an answer, and a failure is an error with a sentence.
        logging.getLogger("opensearch").setLevel(logging.ERROR)
        environ = os.environ if environ is None else environ
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError(
                "the address of OpenSearch must be http://host:port or https://host:port (GARAM_OPENSEARCH_URL)"
            )
        auth = credentials(environ)
        if auth is None and parts.username:
            auth = (parts.username, parts.password or "")
        if auth and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError(
                f"a password would travel to {parts.hostname} unencrypted: give OpenSearch's https:// address"
            )
        ca = environ.get("GARAM_OPENSEARCH_CA")
        if ca and not Path(ca).is_file():
            raise ConfigError(f"GARAM_OPENSEARCH_CA names {ca}, which is no file")
        self.place = f"{parts.scheme}://{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 9200)}"
        self.timeout_s = timeout_s
        self._client = OpenSearch(
            [{"host": parts.hostname, "port": int(self.place.rpartition(":")[2]), "url_prefix": parts.path.strip("/")}],
            use_ssl=parts.scheme == "https",
            verify_certs=True,
            ca_certs=ca,
            http_auth=auth,
            http_compress=parts.hostname not in _LOOPBACK,
            timeout=timeout_s,
            max_retries=0,  # who may try again is decided here and in `bulk`, not in the driver
        )

    # ------------------------------------------------------------------ calls
    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        missing_ok: bool = False,
    ) -> Any:
        """The answer to one request; ``body`` is JSON-able or bytes as they are, ``missing_ok`` makes a 404 None."""
        from opensearchpy import exceptions as raised

        arguments = {"request_timeout": timeout_s or self.timeout_s, **(params or {})}
        try:
            return self._client.transport.perform_request(method, path, params=arguments, body=body)
        except raised.ConnectionTimeout as error:
            raise UnavailableError(
                f"OpenSearch at {self.place} took longer than {timeout_s or self.timeout_s:g} s for {method} {path}: "
                "look at its load and its log"
            ) from error
        except raised.ConnectionError as error:
            raise UnavailableError(
                f"OpenSearch at {self.place} does not answer: start it with `garam up` or check GARAM_OPENSEARCH_URL"
            ) from error
        except raised.TransportError as error:
            status = error.status_code if isinstance(error.status_code, int) else 0
            if status == 404 and missing_ok:
                return None
            if status in (401, 403):
                raise ConfigError(
                    f"OpenSearch at {self.place} does not let this user in ({status} for {method} {path}): "
                    "check GARAM_OPENSEARCH_USER and its password and roles"
                ) from error
            reason = _reason(error.info) or str(error.error)
            if status in _NOT_YET or "not ready yet" in reason or "not deployed" in reason:
                raise UnavailableError(
                    f"OpenSearch at {self.place} is not ready for {method} {path}: {reason}"
                ) from error
            raise ClusterError(f"{method} {path}", status, reason) from error

    def msearch(
        self, index: str, bodies: list[dict[str, Any]], *, timeout_s: float | None = None
    ) -> list[dict[str, Any]]:
        """The answers to several searches of one index, in their order; the first that failed is raised."""
        if not bodies:
            return []
        lines: list[dict[str, Any]] = []
        for body in bodies:
            lines += [{}, body]
        answer = self.call("POST", f"/{quote(index)}/_msearch", _ndjson(lines), timeout_s=timeout_s)
        for one in answer["responses"]:
            if "error" in one:
                reason = _reason(one)
                if one.get("status") in _NOT_YET or "not ready yet" in reason:
                    raise UnavailableError(f"OpenSearch at {self.place} is not ready to search {index}: {reason}")
                raise ClusterError(f"a search of {index}", int(one.get("status", 0)), reason)
        found: list[dict[str, Any]] = answer["responses"]
        return found

    # ------------------------------------------------------------------ indices and aliases
    def indices(self, pattern: str) -> list[str]:
        """Names of the indices that match ``pattern`` (``news-g*``), sorted."""
        found = self.call(
            "GET",
            f"/_cat/indices/{quote(pattern, safe='*,')}",
            params={"format": "json", "h": "index"},
            missing_ok=True,
        )
        return sorted(row["index"] for row in found or [])

    def exists(self, index: str) -> bool:
        """Whether an index, or alias, of that name is there."""
        return self.call("GET", f"/{quote(index)}/_settings", missing_ok=True) is not None

    def create_index(self, index: str, body: dict[str, Any]) -> None:
        """Make an index and wait until its primary shard can be used; one that is already there is left as it is."""
        try:
            self.call("PUT", f"/{quote(index)}", body)
        except ClusterError as error:
            if "resource_already_exists" not in error.reason:
                raise
        self.call("GET", f"/_cluster/health/{quote(index)}", params={"wait_for_status": "yellow", "timeout": "30s"})

    def meta(self, index: str) -> dict[str, Any] | None:
        """The ``_meta`` of an index's mapping: what we wrote about it. None when the index is missing."""
        found = self.call("GET", f"/{quote(index)}/_mapping", missing_ok=True)
        if not found:
            return None
        meta: dict[str, Any] = next(iter(found.values()))["mappings"].get("_meta", {})
        return meta

    def delete_index(self, index: str) -> None:
        """Delete an index; one that is not there is fine. Wildcards are not expanded."""
        self.call("DELETE", f"/{quote(index, safe='')}", missing_ok=True)

    def refresh(self, index: str) -> None:
        """Make everything that was written visible to searches."""
        self.call("POST", f"/{quote(index)}/_refresh")

    def count(self, index: str) -> int:
        """Documents of an index that searches see."""
        return int(self.call("GET", f"/{quote(index)}/_count")["count"])

    def size_bytes(self, index: str) -> int:
        """Bytes of an index's primary shards on disk."""
        answer = self.call("GET", f"/{quote(index)}/_stats/store")
        return int(answer["_all"]["primaries"]["store"]["size_in_bytes"])

    def behind(self, alias: str) -> list[str]:
        """The indices behind an alias, sorted; none when there is no such alias."""
        return sorted(self.call("GET", f"/_alias/{quote(alias)}", missing_ok=True) or {})

    def point(self, aliases: Mapping[str, bool], index: str) -> None:
        """Point every alias (name -> whether it is written through) at ``index`` alone: one call, all or nothing."""
        actions: list[dict[str, Any]] = []
        for alias, written in aliases.items():
            actions += [{"remove": {"index": old, "alias": alias}} for old in self.behind(alias) if old != index]
            actions.append({"add": {"index": index, "alias": alias, **({"is_write_index": True} if written else {})}})
        self.call("POST", "/_aliases", {"actions": actions})

    # ------------------------------------------------------------------ search pipelines
    def put_pipeline(self, name: str, body: dict[str, Any]) -> None:
        """Make or replace a search pipeline; searches that are running end with the old one."""
        self.call("PUT", f"/_search/pipeline/{quote(name)}", body)

    def pipelines(self, pattern: str) -> dict[str, dict[str, Any]]:
        """Search pipelines whose name matches ``pattern``, by name."""
        found: dict[str, dict[str, Any]] = (
            self.call("GET", f"/_search/pipeline/{quote(pattern, safe='*')}", missing_ok=True) or {}
        )
        return found

    def delete_pipeline(self, name: str) -> None:
        """Delete a search pipeline; one that is not there is fine."""
        self.call("DELETE", f"/_search/pipeline/{quote(name, safe='')}", missing_ok=True)

    # ------------------------------------------------------------------ search templates
    def put_template(self, name: str, source: str) -> None:
        """Store the mustache ``source`` of a search template under ``name``, in place of what was there."""
        self.call("PUT", f"/_scripts/{quote(name, safe='')}", {"script": {"lang": "mustache", "source": source}})

    def template(self, name: str) -> str | None:
        """The source of a stored search template, None where there is none."""
        answer = self.call("GET", f"/_scripts/{quote(name, safe='')}", missing_ok=True)
        return str(answer["script"]["source"]) if answer else None

    def delete_template(self, name: str) -> None:
        """Delete a stored search template; one that is not there is fine."""
        self.call("DELETE", f"/_scripts/{quote(name, safe='')}", missing_ok=True)

    def search_template(self, index: str, name: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to a search by a stored template with these parameters, as a client asks it."""
        answer: dict[str, Any] = self.call(
            "POST", f"/{quote(index)}/_search/template", {"id": name, "params": dict(params)}
        )
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _ndjson(lines: list[dict[str, Any]]) -> bytes:
    import json

    return ("\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines) + "\n").encode()


def _reason(info: Any) -> str:
    """OpenSearch's own words for what it refused, the innermost cause first."""
    if not isinstance(info, dict):
        return str(info or "")
    error = info.get("error", info)
    if not isinstance(error, dict):
        return str(error)
    words = [f"{error.get('type', '')}: {error.get('reason', '')}"]
    cause = error.get("caused_by") or (error.get("failed_shards") or [{}])[0].get("reason")
    while isinstance(cause, dict):
        if cause.get("reason"):
            words.insert(0, str(cause["reason"]))
        cause = cause.get("caused_by")
    return "; ".join(dict.fromkeys(word.strip() for word in words if word.strip(": ")))
