"""Where is the next page of an OData answer? At the feed's own `reso_url`, with the query of the next link. No I/O."""

from urllib.parse import SplitResult, urljoin, urlsplit

_MAX_CHARACTERS = 16_000
"""The longest URL of a next page: no server in use takes a longer one, and httpx none over 65,536 characters."""
_PORTS = {"http": 80, "https": 443}


def next_url(root: str, asked: str, link: str) -> str | None:
    """Return the URL of the page that the next link `link` leads to; None if it leads to no other page.

    `link` is from the answer to a request for the URL `asked`, and `root` is the root of the feed's Web API. A server
    behind a proxy may write links with another scheme, port, host or folder. The token must be sent to `root` only, so
    such a link gives only the resource and the query of the URL. The result is None if the link is no usable URL, has
    no query, or leads to `asked` again.
    """
    try:
        target = urlsplit(urljoin(asked, link))
        is_ours = _origin(target) == _origin(urlsplit(root))
    except ValueError:
        return None
    if not target.query or not link.isprintable() or len(link) > _MAX_CHARACTERS:
        return None
    path = target.path if is_ours else _path_below(urlsplit(root).path, urlsplit(asked).path, target.path)
    found = urlsplit(root)._replace(path=path, query=target.query).geturl()
    return found if found != asked else None


def _origin(url: SplitResult) -> tuple[str, str | None, int | None, str | None]:
    return url.scheme, url.hostname, url.port or _PORTS.get(url.scheme), url.username


def _path_below(root: str, asked: str, target: str) -> str:
    """Return the path `target` of a link as a path below `root`; `asked` if `target` does not name the resource.

    The resource is the first part of the path `asked` below `root`. The result has what follows its name in `target`.
    """
    resource = asked.removeprefix(root).partition("/")[0]
    _, found, rest = target.rpartition(f"/{resource}")
    return root + resource + rest if found and rest[:1] in ("", "/") else asked
