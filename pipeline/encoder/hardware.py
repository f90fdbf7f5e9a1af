"""Device selection, bfloat16 support and out-of-memory detection."""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch


@functools.cache
def _cpu_vendor() -> str:
    """The CPU vendor from /proc/cpuinfo; empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


def bf16_is_fast(device: torch.device) -> bool:
    """Whether bfloat16 matrix products are faster than float32: on GPUs from Ampere on, on CPUs with AMX, and on AMD
    CPUs with AVX512-BF16.

    AVX512-BF16 alone is not enough: on a Xeon whose AMX is masked, products of this model's sizes ran at 86 to 91
    GFLOP/s in bfloat16 and at 119 to 160 in float32. On an EPYC of Zen 5 the same products ran at 454 to 503 GFLOP/s a
    core in bfloat16 and at 105 to 110 in float32. The capability flags are read rather than measured, so that a
    resumed training keeps its precision.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        amx = bool(torch.cpu._is_amx_tile_supported())
        return amx or (bool(torch.cpu._is_avx512_bf16_supported()) and _cpu_vendor() == "AuthenticAMD")
    return False


def autocast(device: torch.device) -> AbstractContextManager[Any]:
    """bfloat16 where it is fast on ``device``, float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16_is_fast(device))


def best_device(name: str | None = None) -> torch.device:
    """The named device; by default the GPU where there is one, else the CPU."""
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means out of memory. The CPU allocator of torch raises a plain RuntimeError."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    message = str(error)
    return isinstance(error, RuntimeError) and ("can't allocate memory" in message or "not enough memory" in message)
