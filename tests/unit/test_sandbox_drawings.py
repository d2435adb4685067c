"""Test the drawn pictures of the sandbox MLS."""

from pathlib import Path

from PIL import Image

from local.sandbox.album import Shot, draw, width_of
from local.sandbox.scenes import SCENES

KEY = "C12000001"


def test_a_picture_is_a_jpeg_of_the_requested_size(tmp_path: Path) -> None:
    (tmp_path / "drawn.jpg").write_bytes(draw(Shot(KEY, 0, 0, 1), 1600))
    with Image.open(tmp_path / "drawn.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (1600, 1067))
    assert 200_000 < (tmp_path / "drawn.jpg").stat().st_size < 700_000


def test_the_same_photo_has_the_same_bytes_and_each_other_photo_has_others() -> None:
    shots = [
        Shot(key, number, 0, version) for key in (KEY, "E1") for number in range(len(SCENES)) for version in (1, 2)
    ]
    assert len({draw(shot, 240) for shot in shots}) == len(shots)
    assert draw(shots[0], 240) == draw(shots[0], 240)


def test_the_largest_sizes_lie_between_1600_and_3840_px() -> None:
    widths = [width_of(index) for index in range(320)]
    assert set(widths) == {1600, 1920, 2560, 3840}
