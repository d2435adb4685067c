"""Programs that tests and benchmarks run: from the PATH, or else unpacked to .local/tools without installing them."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import brotli

from local.config import PROJECT

_FOLDER = PROJECT / ".local" / "tools"
_CHROMIUM = "@sparticuz/chromium@153.0.0"
"""Chromium's headless shell as a package of npm, with the libraries that a bare machine lacks."""
_TYPESCRIPT = "typescript@5.9.3"
"""The last version of the compiler that needs no other package."""
_COMMAND_SECONDS = 300


class ToolMissing(Exception):
    """Raised for a program that is not on this machine and cannot be fetched.

    The message has the command that failed.
    """


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that can be run: its path, and the environment variables that it needs beside the usual ones."""

    path: Path
    env: dict[str, str]


def debian(program: str, *packages: str) -> Tool:
    """Return a program: from the PATH, else out of the Debian `packages`, which are downloaded and unpacked once.

    Raises:
        ToolMissing: the packages cannot be downloaded, or do not have the program.
    """
    if found := shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        return Tool(Path(found), {})
    folder = _once(f"debian-{program}", lambda into: _unpack_debian(into, packages))
    path = next((path for place in ("usr/bin", "usr/sbin") if (path := folder / place / program).exists()), None)
    if path is None:
        raise ToolMissing(f"{program} is not in {', '.join(packages)}")
    libraries = ":".join(map(str, (folder / "usr" / "lib").glob("*-linux-gnu")))
    return Tool(path, {"LD_LIBRARY_PATH": libraries} if libraries else {})


def chromium() -> Tool:
    """Return a Chromium: from the PATH, else a headless one from npm, which is downloaded and unpacked once.

    Raises:
        ToolMissing: it cannot be downloaded.
    """
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Tool(Path(found), {})
    folder = _once("chromium", _unpack_chromium)
    env = {"LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder / "fonts")}
    return Tool(folder / "chromium", env)


def typescript() -> list[str]:
    """Return the command, as a list of words, of TypeScript's compiler, which is downloaded from npm once.

    Raises:
        ToolMissing: it cannot be downloaded.
    """
    folder = _once("typescript", _unpack_typescript)
    return [_beside("node"), str(folder / "package" / "lib" / "tsc.js")]


def node() -> str:
    """Return the path of Node.js."""
    return _beside("node")


def install_npm_packages(folder: Path) -> None:
    """Install the packages that `package-lock.json` in the folder names, unless exactly these are installed.

    Raises:
        ToolMissing: npm cannot install them.
    """
    lock, installed = (folder / "package-lock.json").read_bytes(), folder / "node_modules" / ".installed"
    with _locked():
        if not installed.exists() or installed.read_bytes() != lock:
            _run(_beside("npm"), "ci", "--silent", "--no-audit", "--no-fund", cwd=folder)
            installed.write_bytes(lock)


def _unpack_debian(into: Path, packages: tuple[str, ...]) -> None:
    if os.geteuid() == 0:  # a fresh machine has no package lists, and finds no package without them
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, timeout=_COMMAND_SECONDS, check=False)
    _run("apt-get", "download", *packages, cwd=into)
    for archive in into.glob("*.deb"):
        _run("dpkg", "-x", str(archive), str(into), cwd=into)
        archive.unlink()


def _unpack_chromium(into: Path) -> None:
    _unpack_npm(into, _CHROMIUM)
    packed = into / "package" / "bin"
    (into / "chromium").write_bytes(brotli.decompress((packed / "chromium.br").read_bytes()))
    (into / "chromium").chmod(0o755)
    for name in ("al2023", "fonts", "swiftshader"):
        with tarfile.open(fileobj=BytesIO(brotli.decompress((packed / f"{name}.tar.br").read_bytes()))) as parts:
            parts.extractall(into, filter="data")
    shutil.rmtree(into / "package")


def _unpack_typescript(into: Path) -> None:
    _unpack_npm(into, _TYPESCRIPT)


def _unpack_npm(into: Path, package: str) -> None:
    """Download a package of npm, such as typescript@5.9.3, and unpack it into the folder `package` below `into`."""
    _run(_beside("npm"), "pack", "--silent", package, cwd=into)
    (archive,) = into.glob("*.tgz")
    with tarfile.open(archive) as packed:
        packed.extractall(into, filter="data")
    archive.unlink()


def _beside(program: str) -> str:
    """Return the path of a program of Node.js: from the PATH, or else the one installed beside Python."""
    return shutil.which(program) or str(Path(sys.executable).parent / program)


def _run(*command: str, cwd: Path) -> None:
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_COMMAND_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolMissing(f"{command[0]}: {error}") from None
    if done.returncode:
        raise ToolMissing(f"{' '.join(command[:3])} failed: {done.stderr.strip()[-500:]}")


def _once(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder `name` of .local/tools, after `fill`, which gets a folder, has filled it if it did not exist.

    Runs at the same time wait for the one that fills it.
    """
    folder = _FOLDER / name
    with _locked():
        if not folder.exists():
            unfinished = _FOLDER / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            unfinished.mkdir(parents=True)
            fill(unfinished)
            unfinished.rename(folder)
    return folder


@contextmanager
def _locked() -> Iterator[None]:
    _FOLDER.mkdir(parents=True, exist_ok=True)
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
