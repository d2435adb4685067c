"""Run the documented nginx configuration, with only its addresses and folders replaced."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from local import ports
from local.config import PROJECT
from tests import tools
from tests.servers import Namespace
from tests.system import until

EXAMPLES = PROJECT / "docs" / "examples" / "cdn"


def _configuration(namespace: Namespace, port: int, folder: Path) -> str:
    """Return the documented configuration with this namespace's addresses. Fail if a text to replace is missing."""
    text = (EXAMPLES / "nginx.conf").read_text()
    own_folders = "".join(
        f"{kind}_temp_path {folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    for old, new in (
        ("127.0.0.1:8080", f"127.0.0.1:{namespace.ports['resolver']}"),
        ("127.0.0.1:9000", urlsplit(namespace.servers.s3_endpoint).netloc),
        ("/listing-images/;", f"/{namespace.bucket}/;"),
        ("listen 8090;", f"listen 127.0.0.1:{port};"),
        ("/var/cache/nginx/", f"{folder}/"),
        ("http {", f"http {{ access_log off; {own_folders}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    return text


@asynccontextmanager
async def nginx(namespace: Namespace, port: int, folder: Path) -> AsyncIterator[None]:
    """Run nginx in front of a namespace's resolver and storage during the context."""
    tool = tools.debian("nginx", "nginx", "nginx-common")
    configuration = folder / "nginx.conf"
    configuration.write_text(_configuration(namespace, port, folder))
    own = f"daemon off; pid {folder}/nginx.pid;" + (" user root;" if os.geteuid() == 0 else "")
    with (folder / "nginx.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            str(tool.path), "-p", str(folder), "-c", str(configuration), "-e", "stderr", "-g", own,
            env={**os.environ, **tool.env}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await until(lambda: asyncio.to_thread(_answers, port), f"nginx: {(folder / 'nginx.log').read_text()}")
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _answers(port: int) -> bool:
    return ports.http_status(port, "/healthz") == 404  # nginx itself: /healthz of the resolver is not public
