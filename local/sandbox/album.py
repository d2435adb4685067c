"""The JPEG files of the sandbox's photos: drawn, or made from a folder's pictures. Each is made once and kept."""

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from local.sandbox import scenes
from local.sandbox.canvas import Canvas
from local.sandbox.jpeg import copied, drawn_size, encode
from local.sandbox.scenes import SCENES

_FILES = frozenset({".jpg", ".jpeg", ".png", ".webp"})


class NoPictures(ValueError):
    """Raised for a folder of pictures that does not exist, or holds no JPEG, PNG or WebP file."""


@dataclass(frozen=True, slots=True)
class Shot:
    """Names the picture that a sandbox photo shows. The same shot always gives the same JPEG at the same width."""

    listing_key: str
    number: int
    """The photo's position, from 0, among the listing's photos as first published."""
    index: int
    """The photo's position among all photos of the MLS, which chooses a file of the folder."""
    version: int
    """1 at first; each change of the photo adds 1."""

    def size(self, width: int) -> tuple[int, int]:
        """Return the (width, height) in pixels of this shot drawn `width` pixels wide.

        Most shots have the ratio 3:2, and every fourth shot has 4:3.
        """
        return width, round(width * (0.75 if self.number % 4 == 3 else 2 / 3))


def width_of(index: int) -> int:
    """Return the width in pixels of the largest size of the photo at `index` among all photos of the MLS.

    Most photos are 1600 or 1920 pixels wide, some 2560 or 3840.
    """
    return 3840 if index % 80 == 40 else 2560 if index % 20 == 10 else 1920 if index % 4 == 0 else 1600


def pictures_in(folder: Path) -> list[Path]:
    """Return the JPEG, PNG and WebP files of a folder and its subfolders, sorted by path.

    Raises:
        NoPictures: the folder has none, or does not exist.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise NoPictures(f"{folder} is not a folder; name a folder that holds JPEG, PNG or WebP files")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _FILES and path.is_file())
    if not found:
        raise NoPictures(f"{folder} holds no JPEG, PNG or WebP file; put pictures there, or name no folder")
    return found


def draw(shot: Shot, width: int) -> bytes:
    """Draw a photo, and return it as a JPEG that is `width` pixels wide. The same shot and width give the same bytes.

    This takes 20 to 250 ms of CPU, the more the wider the photo is.
    """
    rng = random.Random(f"{shot.listing_key} {shot.number} {shot.version}")
    size = shot.size(width)
    canvas = Canvas(
        drawn_size(*size),
        rng,
        eye=rng.uniform(1.4, 1.6),
        camera_x=rng.uniform(-0.4, 0.4),
        horizon=rng.uniform(0.48, 0.53),
    )
    SCENES[shot.number % len(SCENES)].draw(canvas, scenes.colours_of(shot.listing_key, shot.version))
    return encode(canvas.image, *size, _plate(shot))


def _plate(shot: Shot) -> str:
    """Return the text that is drawn into a picture: the ListingKey, and the photo's number and version.

    The photo's caption and position are left out, because they may change while the picture stays the same.
    """
    version = "" if shot.version == 1 else f" · v{shot.version}"
    return f"{shot.listing_key} · photo {shot.number + 1}{version}"


class Album:
    """Makes the JPEGs of photos, in `threads` threads, and keeps them in the folder `cache`.

    The photos show the pictures in `files` in turn; if `files` is empty, pictures are drawn. `made` is the number of
    JPEGs made so far.
    """

    def __init__(self, cache: Path, files: list[Path], threads: int) -> None:
        self._cache, self._files = cache, files
        self._making: dict[Path, asyncio.Future[bytes]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="sandbox-pictures")
        self.made = 0

    async def jpeg(self, shot: Shot, width: int) -> bytes:
        """Return a photo as a JPEG `width` pixels wide. The JPEG is made once, and then read from the cache.

        Simultaneous calls for one JPEG make it once too. If the photo shows a file of `files` that is narrower than
        `width`, the JPEG has the file's width.
        """
        path = self._cache / f"{shot.listing_key}-{shot.number}-v{shot.version}-{width}.jpg"
        if (cached := _read(path)) is not None:
            return cached
        if path not in self._making:
            made = asyncio.get_running_loop().run_in_executor(self._pool, self._make, shot, width, path)
            self._making[path] = made
            made.add_done_callback(lambda _: self._making.pop(path, None))
        return await asyncio.shield(self._making[path])

    def _make(self, shot: Shot, width: int, path: Path) -> bytes:
        made = self._copied(shot, width) or draw(shot, width)
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(made)
        unfinished.replace(path)
        self.made += 1
        return made

    def _copied(self, shot: Shot, width: int) -> bytes | None:
        """Return the JPEG of the file that a photo shows; None if `files` is empty, or the file cannot be read."""
        if not self._files:
            return None
        file = self._files[shot.index % len(self._files)]
        try:
            return copied(file, width, _plate(shot), mirrored=shot.version % 2 == 0)
        except ValueError:
            return None

    def close(self) -> None:
        """Cancel the JPEGs that wait to be made, and wait for those that threads are making.

        The album cannot be used again.
        """
        self._pool.shutdown(wait=True, cancel_futures=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
