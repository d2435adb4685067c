"""A browser without scripts at the desk: it signs in, opens the page of an action, and confirms or repeats it."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from html import unescape

import httpx

from tests.servers import DESK_TOKEN
from tests.system import System


@asynccontextmanager
async def a_browser(whole: System) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of the desk that has not signed in, and that keeps cookies as a browser does."""
    async with httpx.AsyncClient(base_url=whole.url("desk"), trust_env=False, timeout=20) as client:
        client.headers["Accept"] = "text/html"
        yield client


async def sign_in(browser: httpx.AsyncClient) -> None:
    """Sign the browser in with the desk's token. Fail if the desk refuses the token."""
    answer = await browser.post("/login", data={"token": DESK_TOKEN})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")


def csrf_of(answer: httpx.Response) -> str:
    """Return the secret of the browser's session that the forms of this page carry. Fail if the page has no form."""
    found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
    assert found, answer.text
    return found[1]


class Confirmation:
    """The page that describes an action before it is done, with its button.

    `text` is its text, `given` its hidden fields.
    """

    def __init__(self, browser: httpx.AsyncClient, page: httpx.Response) -> None:
        fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)">', page.text)
        self.text = " ".join(unescape(page.text).split())
        self.given = {name: unescape(value) for name, value in fields}
        self._browser = browser
        self._path = page.url.path

    async def click(self, **written: str) -> str:
        """Confirm the action, with the text fields in `written` filled in; return the text of the page that follows."""
        return await self._after([await self._post({**self.given, **written})])

    async def click_twice(self) -> str:
        """Confirm the action twice at the same time; return the text of the page that follows."""
        return await self._after(await asyncio.gather(self._post(self.given), self._post(self.given)))

    async def is_refused_without_its_token(self) -> None:
        """Fail unless the desk answers 403 to the form without its token, with a guessed one, and from another site."""
        bare = {name: value for name, value in self.given.items() if name != "csrf"}
        for given in (bare, {**bare, "csrf": "guessed"}):
            assert (await self._post(given)).status_code == 403
        elsewhere = await self._browser.post(
            self._path, data=self.given, headers={"Origin": "https://evil.example.com"}
        )
        assert elsewhere.status_code == 403

    async def _post(self, form: dict[str, str]) -> httpx.Response:
        return await self._browser.post(self._path, data=form)

    async def _after(self, answers: Sequence[httpx.Response]) -> str:
        assert {answer.status_code for answer in answers} == {303}, answers[0].text
        page = await self._browser.get(answers[0].headers["Location"])
        return " ".join(unescape(page.text).split())


async def asked_for(browser: httpx.AsyncClient, action: str, **about: str) -> Confirmation:
    """Open the confirmation page of an action, such as `freeze`, and return it. `about` are its query parameters."""
    page = await browser.get(f"/do/{action}", params=about)
    assert page.status_code == 200, page.text
    return Confirmation(browser, page)
