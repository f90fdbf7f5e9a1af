"""Laying out an OpenSearch 3.6 home from Maven artifacts, as the official archive lays out its own.

The archive itself is not in any package registry. The modules' jars come without the descriptor that the build puts
beside them, so those are written here. Nori is there only as 3.8.0: its code runs on 3.6.0, where its own descriptor
would be refused.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from pathlib import Path

from localstack.maven import fetch, read_lock
from localstack.state import Progress, file_lock

VERSION = "3.6.0"
LOCK = Path(__file__).with_name(f"opensearch-{VERSION}.lock.tsv")
LAYOUT = "1"  # counts the changes of this file that make a home different
PLUGINS = ("analysis-nori", "opensearch-job-scheduler", "opensearch-knn", "opensearch-ml", "opensearch-neural-search")
BUILD_PATIENCE_S = 900.0
# 304 MB for one kind of GPU, in a plugin that needs none here.
LEFT_OUT = "onnxruntime_gpu"

# What lacks a descriptor: folder -> (class, plugins that it extends)
DESCRIBED = {
    "modules/analysis-common": ("org.opensearch.analysis.common.CommonAnalysisModulePlugin", ""),
    "modules/ingest-common": ("org.opensearch.ingest.common.IngestCommonModulePlugin", "lang-painless"),
    "modules/lang-mustache": ("org.opensearch.script.mustache.MustacheModulePlugin", ""),
    "modules/lang-painless": ("org.opensearch.painless.PainlessModulePlugin", ""),
    "modules/mapper-extras": ("org.opensearch.index.mapper.MapperExtrasModulePlugin", ""),
    "modules/reindex": ("org.opensearch.index.reindex.ReindexModulePlugin", ""),
    "modules/search-pipeline-common": (
        "org.opensearch.search.pipeline.common.SearchPipelineCommonModulePlugin",
        "",
    ),
    "modules/transport-grpc": ("org.opensearch.transport.grpc.GrpcPlugin", ""),
    "modules/transport-netty4": ("org.opensearch.transport.Netty4ModulePlugin", ""),
    "plugins/analysis-nori": ("org.opensearch.plugin.analysis.nori.AnalysisNoriPlugin", ""),
}


def build(cache: Path, progress: Progress, lock: Path = LOCK) -> Path:
    """The home in ``cache``, made now unless it is there. Its name is the hash of what it is made of.

    Raises:
        UnavailableError, CorruptArtifactError, ConfigError: see ``maven.fetch``.
        BusyError: somebody else has been at it for very long.
    """
    key = hashlib.sha256(lock.read_bytes() + LAYOUT.encode()).hexdigest()[:12]
    home = cache / f"opensearch-{VERSION}-{key}"
    if home.exists():
        return home
    with file_lock(cache / "opensearch.lock", progress, BUILD_PATIENCE_S, "building OpenSearch"):
        if not home.exists():
            progress(f"building OpenSearch {VERSION} in {home} (once; 0.5 GB to download)")
            store = cache / "maven"
            parts = fetch(read_lock(lock), store, progress)
            scratch = home.with_name(f"{home.name}.tmp")
            shutil.rmtree(scratch, ignore_errors=True)
            for part, path in parts.items():
                _place(path, scratch / part.folder, part.filename)
            for folder, (class_name, extends) in DESCRIBED.items():
                (scratch / folder / "plugin-descriptor.properties").write_text(_descriptor(folder, class_name, extends))
            for name in ("bin", "config", "logs", "extensions"):
                (scratch / name).mkdir()
            _let_all_read(scratch)
            scratch.rename(home)
            # The home holds all of it, in half the space.
            shutil.rmtree(store, ignore_errors=True)
    return home


def _place(source: Path, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            archive.extractall(folder, [one for one in archive.namelist() if not one.startswith(LEFT_OUT)])
    else:
        shutil.copyfile(source, folder / name)


def _descriptor(folder: str, class_name: str, extends: str) -> str:
    name = Path(folder).name
    lines = {
        "description": name,
        "version": VERSION,
        "name": name,
        "classname": class_name,
        "java.version": "21",
        "opensearch.version": VERSION,
        "custom.foldername": "",
        "extended.plugins": extends,
        "has.native.controller": "false",
    }
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _let_all_read(home: Path) -> None:
    # Whatever the umask was: under root, another user runs what is in here.
    home.chmod(0o755)
    for path in home.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
