"""Requests a token from the OAuth 2 token endpoint of an MLS (RFC 6749, sections 4.3 and 4.4)."""

import asyncio
import re
import ssl
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version
from math import isfinite

import httpx
import orjson

from shared.clock import Clock
from shared.domain.retry import parse_retry_after
from shared.reso.errors import MlsFailure, MlsUnavailable

_REQUEST_SECONDS = 30.0
_MAX_BYTES = 256 * 1024
_DEFAULT_SECONDS = 1_800.0
"""How long a token counts as valid if the endpoint does not say. If it ends sooner, the MLS answers 401."""
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """Holds a token as the token endpoint issued it, and for how many seconds it is valid."""

    value: str
    seconds: float


async def request_token(url: str, form: Mapping[str, str], clock: Clock) -> IssuedToken:
    """Request a token from the token endpoint at `url` with the parameters in `form`, by name; return the token.

    Some parameters are secrets. The client's id and secret are sent in the form; if the endpoint answers 401, they are
    sent once more in the header Authorization, as some servers accept only that. Raises MlsUnavailable if no token is
    issued; its message has no secret.
    """
    async with httpx.AsyncHTTPTransport(trust_env=False) as transport:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                status, headers, body = await _post(transport, url, form, {})
                if status == 401 and {"client_id", "client_secret"} <= form.keys():
                    names = ("client_id", "client_secret")
                    rest = {name: value for name, value in form.items() if name not in names}
                    basic = httpx.BasicAuth(form["client_id"], form["client_secret"])
                    signed = next(basic.auth_flow(httpx.Request("POST", url)))
                    authorisation = {"Authorization": signed.headers["Authorization"]}
                    status, headers, body = await _post(transport, url, rest, authorisation)
        except TimeoutError:
            raise MlsUnavailable(MlsFailure.TIMEOUT, "the token endpoint gave no complete answer") from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            detail = f"the token endpoint: {type(error).__name__}"
            raise MlsUnavailable(MlsFailure.UNREACHABLE, detail) from None
    if status != 200:
        raise _failure_of(status, headers, body, clock)
    return _read(body)


async def _post(
    transport: httpx.AsyncHTTPTransport, url: str, form: Mapping[str, str], extra: Mapping[str, str]
) -> tuple[int, httpx.Headers, bytes]:
    agent = f"listing-images/{version('listing-images')}"
    headers = {"User-Agent": agent, "Accept": "application/json", "Accept-Encoding": "identity", **extra}
    request = httpx.Request("POST", url, data=dict(form), headers=headers)
    body = bytearray()
    async with aclosing(await transport.handle_async_request(request)) as response:
        async for part in response.aiter_raw():
            body += part
            if len(body) > _MAX_BYTES:
                raise MlsUnavailable(MlsFailure.TOO_LARGE, "the token endpoint's answer is too large")
        return response.status_code, response.headers, bytes(body)


def _failure_of(status: int, headers: httpx.Headers, body: bytes, clock: Clock) -> MlsUnavailable:
    answer = _json(body)
    code = str(answer.get("error", ""))
    named = f" ({code})" if _ERROR_CODE.fullmatch(code) else ""
    detail = f"the token endpoint answered {status}{named}"
    if status in (429, 503):
        failure = MlsFailure.THROTTLED if status == 429 else MlsFailure.MLS_ERROR
        return MlsUnavailable(failure, detail, parse_retry_after(headers.get("Retry-After", ""), clock()))
    return MlsUnavailable(MlsFailure.REFUSED if status < 500 else MlsFailure.MLS_ERROR, detail)


def _read(body: bytes) -> IssuedToken:
    answer = _json(body)
    token = answer.get("access_token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise MlsUnavailable(MlsFailure.BAD_ANSWER, "the token endpoint's answer has no token")
    try:
        seconds = float(str(answer.get("expires_in")))
    except ValueError:
        seconds = _DEFAULT_SECONDS
    return IssuedToken(token, seconds if isfinite(seconds) and seconds > 0 else _DEFAULT_SECONDS)


def _json(body: bytes) -> Mapping[str, object]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return answer if isinstance(answer, dict) else {}
