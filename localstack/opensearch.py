"""One OpenSearch node on loopback, with nori, k-NN, neural search and ML Commons."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from localstack.opensearch_home import PLUGINS, VERSION
from localstack.ports import LOOPBACK
from localstack.processes import Spec
from localstack.state import StateFolder
from localstack.users import ServiceUser
from pipeline.errors import ConfigError

NAME = "opensearch"
READY_S = 180.0
DEFAULT_HEAP_MB = 1024  # ML Commons needs that much

SETTINGS = {
    "cluster.name": "garam",
    "node.name": "garam",
    "discovery.type": "single-node",
    "network.host": LOOPBACK,
    "plugins.ml_commons.only_run_on_ml_node": False,
    "plugins.ml_commons.allow_registering_model_via_local_file": True,
    "plugins.ml_commons.native_memory_threshold": 99,
    "plugins.ml_commons.jvm_heap_memory_threshold": 100,
    # In absolute terms: the default of 95% makes indices read-only on a laptop with 50 GB left.
    "cluster.routing.allocation.disk.watermark.low": "2gb",
    "cluster.routing.allocation.disk.watermark.high": "1gb",
    "cluster.routing.allocation.disk.watermark.flood_stage": "500mb",
}

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d{ISO8601}][%-5p][%-25c{1.}] %m%n%throwable{5}
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
logger.node.name = org.opensearch.node
logger.node.level = info
"""


def url(port: int) -> str:
    """The node's address."""
    return f"http://{LOOPBACK}:{port}"


def heap_mb() -> int:
    """The heap in MiB, from ``GARAM_OPENSEARCH_HEAP_MB``.

    Raises:
        ConfigError: that is not a number of at least 512.
    """
    said = os.environ.get("GARAM_OPENSEARCH_HEAP_MB", str(DEFAULT_HEAP_MB))
    if not said.isdecimal() or int(said) < 512:
        raise ConfigError(f"GARAM_OPENSEARCH_HEAP_MB is {said!r}; it must be a number of MiB, 512 or more.")
    return int(said)


def configure(root: Path, ports: dict[str, int], user: ServiceUser) -> Path:
    """Write the node's configuration and make its folders; returns the configuration's folder."""
    base = user.folder(root / NAME)
    for name in ("config", "data", "logs", "tmp"):
        user.folder(base / name)
    settings = {
        **SETTINGS,
        "http.port": ports["opensearch"],
        "transport.port": ports["opensearch-transport"],
        "path.data": str(base / "data"),
        "path.logs": str(base / "logs"),
    }
    # A JSON string is a YAML string: paths may contain anything.
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())
    for name, text in (("opensearch.yml", lines), ("log4j2.properties", LOGGING), ("jvm.options", "")):
        path = base / "config" / name
        path.write_text(text)
        user.own(path)
    return base / "config"


def spec(folder: StateFolder, root: Path, home: Path, java: Path, user: ServiceUser) -> Spec:
    """How the node is to run."""
    base = root / NAME
    scratch = base / "tmp"
    heap = heap_mb()
    command = [
        str(java / "bin" / "java"),
        f"-Xms{heap}m",
        f"-Xmx{heap}m",
        f"-javaagent:{home}/agent/opensearch-agent-{VERSION}.jar",
        "-XX:+ExitOnOutOfMemoryError",
        "--enable-native-access=ALL-UNNAMED",
        f"-Dopensearch.path.home={home}",
        f"-Dopensearch.path.conf={base}/config",
        "-Dopensearch.distribution.type=tar",
        f"-Djava.io.tmpdir={scratch}",
        f"-Djna.tmpdir={scratch}",
        f"-Djava.library.path={home}/plugins/opensearch-knn/lib",
        "-Dlog4j2.disableJmx=true",
        "-cp",
        f"{home}/lib/*",
        "org.opensearch.bootstrap.OpenSearch",
    ]
    return Spec(
        name=NAME,
        command=command,
        cwd=base,
        log=folder.path / "logs" / "opensearch.log",
        stack=folder.path,
        user=user,
        inherit=lambda key: key in {"PATH", "LANG"},
        # ML Commons and JNA look for a home that they can write to.
        env={"HOME": str(base), "OPENSEARCH_TMPDIR": str(scratch)},
    )


def ask(base: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 5.0) -> Any:
    """The node's JSON answer to a GET, or to a POST of ``body``. Raises OSError when there is none."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}{path}", data, {"Content-Type": "application/json"})  # noqa: S310
    # Loopback: a proxy from the environment must not get in between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=timeout_s) as response:
        return json.load(response)


def missing(base: str) -> str | None:
    """What is still missing before the node can be used; None when nothing is.

    Models that were deployed come back by themselves some seconds after the node answers, and queries through them
    are refused until then: so they are part of being ready.
    """
    try:
        there = {plugin["component"] for plugin in ask(base, "/_cat/plugins?format=json")}
        lacking = sorted(set(PLUGINS) - there)
        if lacking:
            return f"it has not loaded {', '.join(lacking)}"
        health = ask(base, "/_cluster/health")
        if health["status"] == "red" or health["initializing_shards"]:
            return f"its state is {health['status']}, with {health['initializing_shards']} shards being opened"
        waiting = sorted(_should_be_deployed(base) - _deployed(base))
    except (OSError, ValueError, KeyError) as error:
        return f"it does not answer ({error})"
    return f"model {waiting[0]} is not deployed again yet" if waiting else None


def _should_be_deployed(base: str) -> set[str]:
    query = {
        "size": 1000,
        "_source": False,
        "query": {"terms": {"model_state": ["DEPLOYED", "PARTIALLY_DEPLOYED", "DEPLOYING"]}},
    }
    try:
        hits = ask(base, "/_plugins/_ml/models/_search", query)["hits"]["hits"]
    except urllib.error.HTTPError as error:
        if error.code == 404:  # nobody has registered a model yet
            return set()
        raise
    return {hit["_id"] for hit in hits}


def _deployed(base: str) -> set[str]:
    nodes = ask(base, "/_plugins/_ml/profile/models").get("nodes", {})
    return {
        model
        for node in nodes.values()
        for model, said in node.get("models", {}).items()
        if said.get("model_state") == "DEPLOYED"
    }
