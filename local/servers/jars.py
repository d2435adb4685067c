"""Download Apache Kafka's jars, once, and check each against a pinned list of hashes."""

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import stamina

from local.processes import LocalError

PINNED = Path(__file__).parents[1] / "kafka-jars.sha256"
"""Lines of `sha256  group:artifact:version`: the runtime jars of kafka_2.13, and slf4j-simple, which writes its log."""


def ensure(folder: Path) -> None:
    """Fill the folder with exactly Kafka's pinned jars: download missing and damaged ones, and delete all other files.

    Raises:
        LocalError: a jar cannot be downloaded, or has another hash than the pinned one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {_path(folder, coordinate): (sha256, coordinate) for sha256, coordinate in pinned()}
    for stray in set(folder.iterdir()) - set(wanted):
        stray.unlink()
    missing = [path for path, (sha256, _) in wanted.items() if not _has_hash(path, sha256)]
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as cache, ThreadPoolExecutor(8) as pool:
        for download in [pool.submit(_fetch, Path(cache), path, *wanted[path]) for path in missing]:
            download.result()


def pinned() -> list[tuple[str, str]]:
    """Return the pinned list of Kafka's jars, in the file's order: (sha256 in hex, group:artifact:version) of each."""
    return [(line.split()[0], line.split()[1]) for line in PINNED.read_text().splitlines()]


def _path(folder: Path, coordinate: str) -> Path:
    _, artifact, version = coordinate.split(":")
    return folder / f"{artifact}-{version}.jar"


def _has_hash(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _fetch(cache: Path, path: Path, sha256: str, coordinate: str) -> None:
    try:
        fetched = _download(cache, coordinate)
    except (OSError, RuntimeError) as error:
        raise LocalError(
            f"{coordinate} cannot be downloaded: {error}. Kafka is downloaded once; "
            "name a mirror under [repositories] in ~/.config/jgo.conf, or a running broker in IMAGES_KAFKA"
        ) from error
    if not _has_hash(fetched, sha256):
        raise LocalError(f"{coordinate} is not the file whose hash is in {PINNED.name}; it was not used")
    fetched.replace(path)


@stamina.retry(on=(OSError, RuntimeError), attempts=3)
def _download(cache: Path, coordinate: str) -> Path:
    from jgo.config import GlobalSettings  # noqa: PLC0415 - needed once in a checkout, and slow to import
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    mirrors = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    group, artifact, version = coordinate.split(":")
    # Each attempt has a new folder: a partial file of an earlier attempt would count as complete.
    repository = Path(tempfile.mkdtemp(dir=cache))
    context = MavenContext(repo_cache=repository, remote_repos=mirrors)
    return Path(context.project(group, artifact).at_version(version).artifact().resolve())
