"""Signing in and out, and who is let through: every page but the probes and this one wants a session or the token."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlsplit

from aiohttp import web

from services.desk import access
from services.desk.access import Door, Session, Sessions
from services.desk.view import SESSION, clean, page, refuse, see_other, text
from shared import log

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "desk_session"
CSRF = "csrf"
_OPEN = {"/login", "/healthz", "/readyz", "/metrics"}
_logger = log.get(__name__)


class Signing:
    """The page that one signs in on, and the middleware that sends there."""

    def __init__(self, door: Door, sessions: Sessions) -> None:
        self._door = door
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes to serve."""
        return [web.get("/login", self._form), web.post("/login", self._sign_in), web.post("/logout", self._sign_out)]

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a request through where it may; a change must come from one of our own forms."""
        if not _is_from_here(request):
            refuse(403, "this form was sent from another site")
        if request.path in _OPEN or request.path.startswith("/static/"):
            return await handler(request)
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None and not self._has_token(request):
            return _sent_to_sign_in(request)
        request[SESSION] = session
        if request.method not in ("GET", "HEAD"):
            await _check_form(request, session)
        return await handler(request)

    def _has_token(self, request: web.Request) -> bool:
        """Whether a program shows the token; it may only look."""
        token = access.token_of(request.headers.get("Authorization", ""))
        if token is None:
            return False
        self._let_try(request)
        return self._door.opens(token, _who(request))

    def _let_try(self, request: web.Request) -> None:
        if (seconds := self._door.wait_seconds(_who(request))) is not None:
            refuse(429, f"too many wrong tokens from your address; try again in {seconds} s")

    async def _form(self, request: web.Request) -> web.Response:
        return self._show_form(request, access.here(text(request, "next")))

    def _show_form(self, request: web.Request, target: str, fault: str = "") -> web.Response:
        context = {"next": target, "is_locked": self._door.is_locked, "fault": fault}
        return page(request, "login.html", context, status=401 if fault else 200)

    async def _sign_in(self, request: web.Request) -> web.Response:
        self._let_try(request)
        form = await request.post()
        target = access.here(clean("next", form.get("next", "")))
        if not self._door.opens(clean("token", form.get("token", "")), _who(request)):
            _logger.warning("desk-sign-in-refused", address=_who(request))
            return self._show_form(request, target, "That is not the token.")
        session = self._sessions.begin()
        _logger.info("desk-signed-in", address=_who(request))
        response = see_other(target)
        is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, session.id, httponly=True, samesite="Strict", path="/", secure=is_secure)
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        self._sessions.end(request[SESSION])
        response = see_other("/login")
        response.del_cookie(COOKIE, path="/")
        return response


async def _check_form(request: web.Request, session: Session | None) -> None:
    """Refuse what does not carry the session's own token: another site's page cannot know it."""
    form = await request.post()
    given = form.get(CSRF, "")
    if session is None or not isinstance(given, str) or not access.is_same(given, session.csrf):
        refuse(403, "this form is not of your session, or that has ended; open the page again and repeat")


def _is_from_here(request: web.Request) -> bool:
    """Whether a change comes from a page of ours, as far as the browser says; signing in has no session to check."""
    if request.method in ("GET", "HEAD"):
        return True
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host


def _sent_to_sign_in(request: web.Request) -> web.Response:
    headers = {"WWW-Authenticate": "Bearer"}
    if "HX-Request" in request.headers:  # a part of a page: let the browser load all of it anew, which leads here
        return web.Response(status=401, headers={**headers, "HX-Refresh": "true"})
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return see_other(f"/login?next={quote(request.path_qs, safe='/')}")
    return web.Response(status=401, headers=headers, text="sign in at /login, or send the desk's token as a bearer\n")


def _who(request: web.Request) -> str:
    return request.remote or "unknown"
