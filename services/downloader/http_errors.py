"""Maps the exceptions that a bad URL, network or origin causes in httpx and httpcore to failures of a photo."""

import ssl

import httpcore
import httpx

from services.downloader.backend import AddressRefused
from shared.domain.failures import Failure, Reason

_REASONS: tuple[tuple[type[Exception], Reason, str], ...] = (
    (AddressRefused, Reason.REFUSED_ADDRESS, "leads to a private or reserved address"),
    (httpcore.TimeoutException, Reason.TIMEOUT, "no answer in time"),
    (httpcore.NetworkError, Reason.UNREACHABLE, "no connection, or it broke"),
    (httpcore.ProxyError, Reason.UNREACHABLE, "a proxy failed"),
    (ssl.SSLError, Reason.UNREACHABLE, "TLS failed"),
    (httpcore.UnsupportedProtocol, Reason.BAD_URL, "not http or https"),
    (httpx.InvalidURL, Reason.BAD_URL, "not a URL"),
    (
        httpcore.LocalProtocolError,
        Reason.ORIGIN_ERROR,
        "the request cannot be sent; look at the feed's headers and token",
    ),
    (httpcore.ProtocolError, Reason.ORIGIN_ERROR, "the answer is not HTTP"),
)
"""Exception, reason of the failure, and its detail. If an exception matches several entries, the first counts."""

_CERTIFICATE_FAULTS = {
    9: "its TLS certificate is not valid yet",
    10: "its TLS certificate has expired",
    18: "its TLS certificate is self-signed",
    19: "the issuer of its TLS certificate is not known",
    20: "the issuer of its TLS certificate is not known, or it does not send the issuer's certificate",
    21: "the issuer of its TLS certificate is not known, or it does not send the issuer's certificate",
    23: "its TLS certificate was revoked",
    62: "its TLS certificate is for another host name",
    64: "its TLS certificate is for another IP address",
}
"""What is wrong with an origin's certificate, by OpenSSL's code (X509_V_ERR, in x509_vfy.h)."""

HTTP_ERRORS = tuple(kind for kind, *_ in _REASONS)
"""All exceptions that a URL, the network or an origin may cause. Any other exception of httpx or httpcore is a bug."""

BODY_CUT_SHORT = (httpcore.RemoteProtocolError, httpcore.ReadError)
"""The exceptions that mean that a body ended early, if they are raised while the body is read."""


def failure_of(error: Exception, host: str) -> Failure:
    """Return the failure for an exception, one of HTTP_ERRORS, that a request to the host name `host` raised.

    If TLS failed, the failure's detail says how. The detail leaves out the exception's own text, which may quote URLs
    and headers.
    """
    reason, words = next((reason, words) for kind, reason, words in _REASONS if isinstance(error, kind))
    words = _tls_words(error) or words
    return Failure(reason, f"{host}: {words} ({type(error).__name__})")


def _tls_words(error: BaseException) -> str | None:
    """Return what is wrong with an origin's TLS if that caused the error; None if the error has another cause."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError):
        code = getattr(cause, "verify_code", 0)
        return _CERTIFICATE_FAULTS.get(code, f"its TLS certificate is not valid (OpenSSL's code {code})")
    if cause is not None:
        return f"TLS failed: {getattr(cause, 'reason', None) or 'no reason given'}"
    return None
