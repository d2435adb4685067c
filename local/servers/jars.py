"""Apache Kafka's jars: fetched once, each checked against the pinned list before it is used."""

import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import stamina

from local.processes import LocalError

PINNED = Path(__file__).parents[1] / "kafka-jars.sha256"
"""Lines of `sha256  group:artifact:version`: the runtime jars of kafka_2.13, and slf4j-simple, which writes its log."""


def ensure(folder: Path) -> None:
    """Have exactly the pinned jars in the folder, fetching those that are missing or damaged. Raises LocalError."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {_path(folder, coordinate): (sha256, coordinate) for sha256, coordinate in pinned()}
    for stray in set(folder.iterdir()) - set(wanted):
        stray.unlink()
    missing = [path for path, (sha256, _) in wanted.items() if not _is(path, sha256)]
    if not missing:
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as cache, ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(_fetch, Path(cache), path, *wanted[path]) for path in missing]:
            done.result()


def pinned() -> list[tuple[str, str]]:
    """(sha256, group:artifact:version) of each jar."""
    return [(line.split()[0], line.split()[1]) for line in PINNED.read_text().splitlines()]


def _path(folder: Path, coordinate: str) -> Path:
    _, artifact, version = coordinate.split(":")
    return folder / f"{artifact}-{version}.jar"


def _is(path: Path, sha256: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def _fetch(cache: Path, path: Path, sha256: str, coordinate: str) -> None:
    try:
        fetched = _download(cache, coordinate)
    except (OSError, RuntimeError) as fault:
        raise LocalError(
            f"{coordinate} cannot be fetched: {fault}. Kafka is needed once from the network; "
            "a mirror can be named under [repositories] in ~/.config/jgo.conf, a running server in IMAGES_KAFKA"
        ) from fault
    if not _is(fetched, sha256):
        raise LocalError(f"{coordinate} is not the file whose hash is in {PINNED.name}; it was not used")
    fetched.replace(path)


@stamina.retry(on=(OSError, RuntimeError), attempts=3)
def _download(cache: Path, coordinate: str) -> Path:
    from jgo.config import GlobalSettings  # noqa: PLC0415 - wanted once in the life of a checkout, and slow to import
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
    from jgo.maven import MavenContext  # noqa: PLC0415

    mirrors = {**GlobalSettings.load().repositories, "central": MAVEN_CENTRAL_URL}
    group, artifact, version = coordinate.split(":")
    own = Path(tempfile.mkdtemp(dir=cache))  # each attempt its own: half a file of the last one would pass for whole
    context = MavenContext(repo_cache=own, remote_repos=mirrors)
    return Path(context.project(group, artifact).at_version(version).artifact().resolve())
