"""An S3 server as one process: SeaweedFS with its master, volume server, filer and S3 gateway."""

import shutil
import sysconfig
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from local.ports import http_status
from local.processes import LocalError, Program

PORTS = tuple(f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer", "admin") for kind in ("", ".grpc"))
"""The ports, named as the options of `weed mini` are. Each is set: the defaults are fixed ports."""

OPTIONS = (
    "-ip=127.0.0.1",
    "-ip.bind=127.0.0.1",
    "-master.telemetry=false",
    "-s3.autoCreateBucket=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-webdav=false",
    "-admin.ui=false",
    "-volume.preStopSeconds=0",
)


def program(data: Path, ports: Mapping[str, int], access_key: str, secret_key: str) -> Program:
    """Return the program that runs the S3 server with its files in the folder `data`, without starting it.

    `ports` has a port for each name in `PORTS`; the keys are those of the server's only user.

    Raises:
        LocalError: SeaweedFS is not installed.
    """
    listening = [f"-{name}={ports[name]}" for name in PORTS]
    return Program(
        name="s3",
        command=[_weed(), "mini", f"-dir={data}", *OPTIONS, *listening],
        environment={"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key},
        prepare=partial(data.mkdir, parents=True, exist_ok=True),
        answers=partial(_answers, ports["s3.port"], ports["master.port"]),
        address=endpoint(ports["s3.port"]),
    )


def endpoint(port: int) -> str:
    """Return the URL by which clients connect to the stack's S3 server on this port."""
    return f"http://127.0.0.1:{port}"


def _answers(port: int, master_port: int) -> bool:
    """Return True if the S3 server accepts objects.

    The master at `master_port` is asked too, because the gateway at `port` answers before a volume is ready.
    """
    return http_status(port, "/healthz") == 200 and http_status(master_port, "/dir/assign") == 200


def _weed() -> str:
    """Return the path of SeaweedFS's program `weed`: beside this Python, else on the PATH.

    Raises LocalError if it is in neither place.
    """
    if found := shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed"):
        return found
    raise LocalError(
        "s3: `weed` not found. Install the dependency group `stack` (`uv sync`), "
        "or name a running server in IMAGES_S3_ENDPOINT, IMAGES_S3_ACCESS_KEY and IMAGES_S3_SECRET_KEY"
    )
