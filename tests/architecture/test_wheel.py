"""Does the wheel have every file that the installed packages need, also those that are not Python?"""

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

from local.config import PROJECT


def test_the_wheel_has_every_file_of_its_packages(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(PROJECT)).build(directory=str(tmp_path), versions=["standard"])
    packages = ("services", "shared", "ops", "local")
    files = {
        str(path.relative_to(PROJECT))
        for package in packages
        for path in (PROJECT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith(packages)} == files
