"""The quotas of the emulated vendor: counts requests and bytes in windows, and refuses requests over a quota.

Windows do not slide: a window of an hour, for example, begins at each full hour in UTC.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

from local.sandbox.vendors.rules import Quota, VendorRules
from shared.clock import Clock

Kind = Literal["api", "media"]


@dataclass(slots=True)
class _Window:
    """The requests and bytes that were counted in the current window of one quota.

    `number` is the number of windows from 1970 to the current one. A window lasts the quota's `seconds`.
    """

    quota: Quota
    number: int = 0
    requests: int = 0
    bytes: int = 0

    def move_to(self, now: float) -> None:
        number = int(now // self.quota.seconds)
        if number != self.number:
            self.number, self.requests, self.bytes = number, 0, 0

    def is_over(self) -> bool:
        quota = self.quota
        return (0 < quota.requests < self.requests) or (0 < quota.bytes < self.bytes)


@dataclass(slots=True)
class Meter:
    """Counts requests to the emulated vendor against the vendor's quotas.

    `refused` counts the requests over a quota, by the quota in words such as `api 60 s`, and requests during a
    suspension as `suspended`. A kind of request is `api` (the Web API) or `media` (pictures).
    """

    vendor: VendorRules
    clock: Clock
    refused: Counter[str] = field(default_factory=Counter)
    _windows: list[_Window] = field(init=False)
    _silent_until: float = 0.0

    def __post_init__(self) -> None:
        self._windows = [_Window(quota) for quota in self.vendor.quotas]

    def admit(self, kind: Kind) -> bool:
        """Count a request of this kind, and return True if it may be answered.

        The result is False if a quota is used up. Some vendors then suspend the token: the result is False until the
        next full hour.
        """
        now = self.clock().timestamp()
        if now < self._silent_until:
            self.refused["suspended"] += 1
            return False
        is_over = False
        for window in self._of(kind):
            window.move_to(now)
            window.requests += 1
            if window.is_over():
                is_over = True
                self.refused[f"{window.quota.counts} {window.quota.seconds} s"] += 1
        if is_over and self.vendor.limits.suspends:
            self._silent_until = (now // 3600 + 1) * 3600
        return not is_over

    def count_bytes(self, kind: Kind, number: int) -> None:
        """Count the bytes of an answer to a request of this kind: over a quota, `admit` refuses the next requests."""
        for window in self._of(kind):
            window.bytes += number

    def headers(self, kind: Kind) -> dict[str, str]:
        """Return the headers in which the vendor tells a client about its quotas; empty if the vendor sends none."""
        if self.vendor.limits.headers == "trestle":
            return {"QuotaType": kind.capitalize(), **self._trestle(kind)}
        if self.vendor.limits.headers == "bridge" and kind == "api":
            return self._bridge()
        return {}

    def _trestle(self, kind: Kind) -> dict[str, str]:
        headers = {}
        for window in self._of(kind):
            period = "Minute" if window.quota.seconds == 60 else "Hour"
            headers[f"{period}-Quota-Limit"] = f"{window.quota.requests:.1f}"
            headers[f"{period}-Quota-ResetTime"] = str((window.number + 1) * window.quota.seconds * 1000)
        return headers

    def _bridge(self) -> dict[str, str]:
        headers = {}
        for window in self._of("api"):
            name = "Burst-RateLimit" if window.quota.seconds == 60 else "Application-RateLimit"
            headers[f"{name}-Limit"] = str(window.quota.requests)
            headers[f"{name}-Remaining"] = str(max(0, window.quota.requests - window.requests))
            headers[f"{name}-Reset"] = str((window.number + 1) * window.quota.seconds)
        return headers

    def _of(self, kind: Kind) -> list[_Window]:
        return [window for window in self._windows if window.quota.counts in {kind, "all"}]
