"""Signing in and out, and the middleware that lets only signed-in operators and programs with the token pass."""

from collections.abc import Awaitable, Callable
from urllib.parse import quote

from aiohttp import web

from services.desk import access
from services.desk.access import Session, Sessions, TokenCheck
from services.desk.view import SESSION, checked_text, query_text, redirect, refuse, render
from shared import log

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

COOKIE = "desk_session"
CSRF = "csrf"
"""The form field that carries a session's secret."""
_PUBLIC_PATHS = {"/login", "/healthz", "/readyz", "/metrics"}
_logger = log.get(__name__)


class SignInPages:
    """The desk's pages for signing in and out, and the middleware that refuses clients that are not signed in."""

    def __init__(self, token_check: TokenCheck, sessions: Sessions) -> None:
        self._token_check = token_check
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        """Return the routes of the form for signing in (GET and POST `/login`) and of signing out (POST `/logout`)."""
        return [web.get("/login", self._form), web.post("/login", self._sign_in), web.post("/logout", self._sign_out)]

    @web.middleware
    async def require_sign_in(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Return the answer of `handler` if the browser is signed in, or if a GET or HEAD request has the desk's token.

        Public paths, such as the probes, need neither. For any other request the answer is a redirect to the form for
        signing in, or 401. Raises Refused: 403 for a request that may change something and does not come from a form of
        the desk with the session's secret, 429 for an address that must wait.
        """
        if not _is_own_origin(request):
            refuse(403, "this form was sent from another site")
        if request.path in _PUBLIC_PATHS or request.path.startswith("/static/"):
            return await handler(request)
        session = self._sessions.get(request.cookies.get(COOKIE, ""))
        if session is None and not self._has_token(request):
            return _sign_in_required(request)
        request[SESSION] = session
        if request.method not in ("GET", "HEAD"):
            await _check_form(request, session)
        return await handler(request)

    def _has_token(self, request: web.Request) -> bool:
        """Return True if the request's `Authorization` header has the desk's token.

        A wrong token is counted for the client's IP address. Raises Refused (429) if the address must wait because it
        sent too many wrong tokens.
        """
        token = access.token_in_header(request.headers.get("Authorization", ""))
        if token is None:
            return False
        self._refuse_waiting(request)
        return self._token_check.accepts(token, _address(request))

    def _refuse_waiting(self, request: web.Request) -> None:
        if (seconds := self._token_check.wait_seconds(_address(request))) is not None:
            refuse(429, f"too many wrong tokens from your address; try again in {seconds} s")

    async def _form(self, request: web.Request) -> web.Response:
        return self._render_form(request, access.local_path(query_text(request, "next")))

    def _render_form(self, request: web.Request, target: str, fault: str = "") -> web.Response:
        """Return the form for signing in; if there is a `fault`, the form shows it, and the status is 401.

        `target` is the path that the browser goes to after signing in.
        """
        context = {"next": target, "is_locked": self._token_check.is_locked, "fault": fault}
        return render(request, "login.html", context, status=401 if fault else 200)

    async def _sign_in(self, request: web.Request) -> web.Response:
        self._refuse_waiting(request)
        form = await request.post()
        target = access.local_path(checked_text("next", form.get("next", "")))
        if not self._token_check.accepts(checked_text("token", form.get("token", "")), _address(request)):
            _logger.warning("desk-sign-in-refused", address=_address(request))
            return self._render_form(request, target, "That is not the token.")
        session = self._sessions.begin()
        _logger.info("desk-signed-in", address=_address(request))
        response = redirect(target)
        is_secure = request.secure or request.headers.get("X-Forwarded-Proto") == "https"
        response.set_cookie(COOKIE, session.id, httponly=True, samesite="Strict", path="/", secure=is_secure)
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        if session := request.get(SESSION):
            self._sessions.end(session)
        response = redirect("/login")
        response.del_cookie(COOKIE, path="/")
        return response


async def _check_form(request: web.Request, session: Session | None) -> None:
    """Raise Refused (403) if the request's form lacks the session's secret, which another site's page cannot know.

    `session` is the browser's session, or None for a program that has only the desk's token. For None, Refused is
    always raised, because such a program may only read.
    """
    form = await request.post()
    given = form.get(CSRF, "")
    if session is None or not isinstance(given, str) or not access.are_equal(given, session.csrf):
        refuse(403, "this form is not of your session, or that has ended; open the page again and repeat")


def _is_own_origin(request: web.Request) -> bool:
    """Return False if another site's page sent a request that changes something, else True.

    Requests other than GET and HEAD may change something. Browsers name the sending site in headers; a request without
    these headers, as from a program, counts as the desk's own. The form for signing in depends on this check, because
    it has no session's secret.
    """
    if request.method in ("GET", "HEAD"):
        return True
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    return origin is None or access.is_origin_of(origin, request.host)


def _sign_in_required(request: web.Request) -> web.Response:
    """Return the answer to a request that has neither a session nor the desk's token.

    If a browser asks for a page, the answer is a redirect to the form for signing in, which leads back to the page. If
    the browser refreshes a part of a page, the answer is 401 with a header that makes the browser load the whole page.
    For any other request, such as a program's, it is 401 with a line of advice.
    """
    headers = {"WWW-Authenticate": "Bearer"}
    if "HX-Request" in request.headers:  # a part of a page: the browser is to load the whole page, which redirects
        return web.Response(status=401, headers={**headers, "HX-Refresh": "true"})
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return redirect(f"/login?next={quote(request.path_qs, safe='/')}")
    return web.Response(status=401, headers=headers, text="sign in at /login, or send the desk's token as a bearer\n")


def _address(request: web.Request) -> str:
    return request.remote or "unknown"
