"""Where is the next page of an OData answer? Its link's query, always asked of the feed's own `reso_url`. No I/O."""

from urllib.parse import SplitResult, urljoin, urlsplit

_MAX_CHARACTERS = 16_000
"""No server that is in use takes a longer URL, and httpx takes none over 65,536 characters."""
_PORTS = {"http": 80, "https": 443}


def next_url(root: str, asked: str, link: str) -> str | None:
    """Return the URL of the next page that `link` names, in the answer to a request for the URL `asked`.

    `root` is the root of the feed's Web API. A server behind a proxy may write links with its own scheme, port, host
    and folder, and the token must go nowhere but to `root`: so a link to another origin only gives the resource and the
    query. Return None if the link names no other page: it is no usable URL, has no query, or leads to `asked` again.
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
    """Return the path `target` as it is below the path `root`: from the resource on that the path `asked` names."""
    resource = asked.removeprefix(root).partition("/")[0]
    _, found, rest = target.rpartition(f"/{resource}")
    return root + resource + rest if found and rest[:1] in ("", "/") else asked
