"""A fresh checkout of this project, in which commands run as an operator would run them."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

from local.config import PROJECT

_LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".local", ".env", "feeds.toml", "*_cache", ".import_linter_cache", "__pycache__", ".ci"
)
_SECONDS = 600


class Checkout:
    """A copy of the project without its data; it shares the installed packages. `secrets` are set for each command."""

    def __init__(self, path: Path, secrets: dict[str, str]) -> None:
        self.path = path
        shutil.copytree(PROJECT, path, ignore=_LEFT_OUT, symlinks=True)
        (path / ".venv").symlink_to(PROJECT / ".venv")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("IMAGES_")}
        self._environment = kept | secrets

    async def run(self, *command: str) -> str:
        """Run a command in the checkout, and return what it printed. Raises AssertionError if it fails."""
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=self.path, env=self._environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout

    async def imagectl(self, *arguments: str) -> str:
        """Run `imagectl` of this checkout; the installed command would be that of the project itself."""
        return await self.run(".venv/bin/python", "-m", "ops.imagectl", *arguments)
