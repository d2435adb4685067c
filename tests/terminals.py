"""Runs a command at a pseudo-terminal: tests read its screen and press its keys."""

import asyncio
import os
import sys
import termios
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from local.config import PROJECT

CTRL_C = b"\x03"
OWN_SCREEN, BACK_AGAIN = "\x1b[?1049h", "\x1b[?1049l"
_HOME = "\x1b[H"


class Terminal:
    """The pseudo-terminal of a running command. `written` is all that was read of what the command has written."""

    def __init__(self, process: asyncio.subprocess.Process, keyboard: int) -> None:
        self._process = process
        self._keyboard = keyboard
        self.written = ""

    @property
    def screen(self) -> str:
        """Return the text that was written since the screen was last drawn from its top."""
        return self.written.rpartition(_HOME)[2]

    def press(self, keys: bytes) -> None:
        """Send the bytes of keys to the command, as if they were pressed."""
        os.write(self._keyboard, keys)

    async def end(self, seconds: float) -> int:
        """Wait for the command's end and return its exit code. Raise TimeoutError after `seconds`."""
        return await asyncio.wait_for(self._process.wait(), seconds)

    def read(self) -> None:
        """Append what the command has written since the last call to `written`. The event loop calls this."""
        try:
            self.written += os.read(self._keyboard, 65_536).decode(errors="replace")
        except OSError:  # the command has ended
            asyncio.get_running_loop().remove_reader(self._keyboard)


@asynccontextmanager
async def a_terminal(env: Mapping[str, str], module: str, *arguments: str) -> AsyncIterator[Terminal]:
    """Run a Python module with arguments at a terminal of its own, 160 columns by 50 lines; yield the terminal.

    `env` is added to the environment. The command is killed at the end of the context if it still runs.
    """
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (50, 160))
    own = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments,
        cwd=PROJECT, env={**own, **env, "TERM": "xterm-256color"}, preexec_fn=lambda: os.login_tty(theirs),
    )  # fmt: skip
    os.close(theirs)
    terminal, loop = Terminal(process, ours), asyncio.get_running_loop()
    loop.add_reader(ours, terminal.read)
    try:
        yield terminal
    finally:
        loop.remove_reader(ours)
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
