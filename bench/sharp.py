"""Baselines of the photos benchmark that use Sharp, the image library of Node.js that most sites have today."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from shared.domain.variants import VariantSpec
from tests import tools
from tests.servers import Servers

_FOLDER = Path(__file__).parent / "node"
_BUCKET = "bench-sharp"


def rate(photos: Sequence[str], specs: Sequence[VariantSpec], store: Servers | None = None) -> float:
    """Return how many photos a second a script with Sharp makes variants of, two at a time on two cores.

    `photos` are URLs to fetch, or paths of files to read. With `store` the script also puts each original and its
    variants into that S3 server, as a site's own script would.

    Raises:
        RuntimeError: the script failed; the message has the end of what it printed.
        ToolMissing: npm cannot install Sharp.
    """
    tools.install_npm_packages(_FOLDER)
    given = {
        "photos": list(photos),
        "variants": [
            {"name": spec.name, "width": spec.width, "format": spec.format, "quality": spec.quality} for spec in specs
        ],
        "workers": os.cpu_count(),
        "store": store
        and {
            "endpoint": store.s3_endpoint,
            "accessKey": store.s3_access_key,
            "secretKey": store.s3_secret_key,
            "bucket": _BUCKET,
        },
    }
    command = [tools.node(), str(_FOLDER / "photos.mjs")]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=900, check=False)  # noqa: S603
    if done.returncode:
        raise RuntimeError(f"Sharp failed: {done.stderr[-1000:]}")
    return float(done.stdout)
