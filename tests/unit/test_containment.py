"""Tests that a contained process can do its work and nothing else, and that faked answers of a child are refused."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from services.downloader import encoder, picture
from shared.domain.variants import VariantSpec
from tests import pictures

ROOT = Path(__file__).parents[2]
SPECS = (VariantSpec("full", 64, "webp", 80), VariantSpec("thumb", 32, "webp", 80))

ATTEMPTS = """
import os, socket, sys
from pathlib import Path
from services.downloader import containment

folder = Path(sys.argv[1])
holds = containment.contain([folder])
attempts = {
    "landlock": {
        "read another file": lambda: Path("/etc/hostname").read_text(),
        "read the parent's environment": lambda: Path(f"/proc/{os.getppid()}/environ").read_bytes(),
        "read settings": lambda: Path(sys.argv[2]).read_bytes(),
        "list the root": lambda: os.listdir("/"),
        "write elsewhere": lambda: Path(sys.argv[2]).write_text("x"),
    },
    "seccomp": {
        "open a socket": socket.socket,
        "run a program": lambda: os.execv("/bin/true", ["true"]),
        "fork": os.fork,
        "kill the parent": lambda: os.kill(os.getppid(), 9),
        "make a link": lambda: (folder / "link").symlink_to("/etc/hostname"),
    },
}
for measure in holds[1:]:
    for name, attempt in attempts[measure].items():
        try:
            attempt()
            print("could", name)
        except PermissionError:
            pass
(folder / "new").write_text("x")
assert (folder / "new").read_text() == "x"
(folder / "new").unlink()
Path("/proc/self/statm").read_text()
import colorsys, threading  # a module that is loaded late, and a thread
thread = threading.Thread(target=lambda: None)
thread.start()
thread.join()
print(*holds)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the measures are Linux's")
def test_a_contained_process_can_use_its_folder_and_nothing_else(tmp_path: Path) -> None:
    secret, folder = tmp_path / "secret.env", tmp_path / "photos"
    secret.write_text("SECRET=1")
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS, str(folder), str(secret)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    (measures,) = done.stdout.splitlines()  # no attempt succeeded
    assert measures.startswith("no-new-privs")
    assert secret.read_text() == "SECRET=1"


def an_answer(folder: Path) -> picture.Encoded:
    """Return the answer of a child to a job with the variants SPECS, and write its files to the folder."""
    source = pictures.written(folder, pictures.encoded(pictures.corners(), "PNG"))
    encoded = picture.encode(source, folder, SPECS, 10_000)
    assert isinstance(encoded, picture.Encoded)
    return encoded


def test_the_answer_of_a_good_child_is_believed(tmp_path: Path) -> None:
    encoder.check_answer(an_answer(tmp_path), tmp_path, SPECS)


def with_first(answer: picture.Encoded, **facts: Any) -> picture.Encoded:
    first, *rest = answer.variants
    return replace(answer, variants=(replace(first, **facts), *rest))


def test_a_faked_answer_is_refused(tmp_path: Path) -> None:
    answer = an_answer(tmp_path)
    first, second = answer.variants
    (tmp_path / "other.webp").write_bytes(first.path.read_bytes())
    fakes = [
        with_first(answer, path=Path("/etc/hostname"), file_size=Path("/etc/hostname").stat().st_size),
        with_first(answer, path=tmp_path / "other.webp"),
        with_first(answer, path=tmp_path / ".." / tmp_path.name / "full.webp"),
        with_first(answer, content_type="text/html"),
        with_first(answer, extension="html"),
        with_first(answer, file_size=first.file_size + 1),
        with_first(answer, name="huge"),
        replace(answer, variants=(first,)),
        replace(answer, variants=(first, first, second)),
        replace(answer, content_type="text/html"),
        replace(answer, extension="../x"),
    ]
    for fake in fakes:
        with pytest.raises(ValueError, match=r"the photo|variant"):
            encoder.check_answer(fake, tmp_path, SPECS)
    os.link(first.path, tmp_path / "hard")
    with pytest.raises(ValueError, match="link"):
        encoder.check_answer(answer, tmp_path, SPECS)
    (tmp_path / "hard").rename(tmp_path / "target.webp")
    first.path.unlink()
    first.path.symlink_to(tmp_path / "target.webp")
    with pytest.raises(ValueError, match="link"):
        encoder.check_answer(answer, tmp_path, SPECS)


@pytest.mark.parametrize("change", [{"extra": 1}, {"variants": None}, {"variants": [1]}, {"failure": "no-reason"}])
def test_an_answer_with_other_fields_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    answer = json.dumps({**asdict(an_answer(tmp_path)), **change}, default=str).encode()
    with pytest.raises((ValueError, KeyError)):
        encoder.read_answer(answer)


DUMPABLE = """
import ctypes
from services.downloader import containment

containment.hide_memory()
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the measures are Linux's")
def test_a_hidden_process_is_not_dumpable() -> None:
    done = subprocess.run([sys.executable, "-c", DUMPABLE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("0\n", "")
