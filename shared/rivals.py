"""Finds a rival: a second process with the same worker's name, which would read the same partitions and share leases.

A process that was killed may be started again at once with the same name. So a stored process with the name is not yet
a rival: only one that answers is.
"""

import secrets
import socket

import aiohttp

from shared.settings import Settings, worker_name
from shared.stores.workers import Worker, Workers

CHECK_SECONDS = 10.0
_ANSWER_SECONDS = 2.0


class WorkerIdentity:
    """Takes the worker's name for this process, in the store `workers`, unless another process with the name answers.

    `service` is the service's name; the settings give the worker's name and address. `token` is random: by a request to
    /healthz with this token, other processes find out whether this process is the one that answers.
    """

    def __init__(self, workers: Workers, settings: Settings, service: str) -> None:
        self._workers = workers
        self._service = service
        self.port = getattr(settings, f"{service}_port")
        host = socket.gethostname() if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104 - a comparison
        url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        self.token = secrets.token_hex(8)
        self._own = Worker(worker_name(settings, service), url, self.token)
        self.rival = ""
        """A sentence for the operator about the other process that has this worker's name; "" if none was found."""

    async def check(self) -> None:
        """Take the worker's name, or set `rival` if another process that has the name answers. Raises StoreUnavailable.

        A service calls this method when it starts, once its port is open, and again every CHECK_SECONDS. If two
        processes start at the same time, the one that took the name first finds the other in a later call.
        """
        holder = await self._workers.get(self._own.name)
        if holder == self._own:
            return
        if holder is not None and await _answers(holder):
            self.rival = (
                f"IMAGES_{self._service.upper()}_PORT is {self.port}, and another {self._service} with this port and "
                f"the host name {socket.gethostname()} answers at {holder.url}. Give each {self._service} of a host "
                "another port, or each host another name"
            )
            return
        await self._workers.put(self._own)


async def _answers(worker: Worker) -> bool:
    """Return True if within two seconds the process `worker` answers, not another process at its address."""
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as http,
            http.get(f"{worker.url}/healthz", params={"worker": worker.token}) as answer,
        ):
            return answer.status in (200, 503)
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return False
