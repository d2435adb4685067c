"""`imagectl connect`: asks an MLS's API what it can do, and writes the feed's table and secrets."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from ops import terminal
from ops.connect import files, pictures, report, survey, table, target
from ops.connect.client import connected
from ops.connect.findings import Findings, differences
from ops.connect.target import Target
from shared.clock import utc_now
from shared.domain.feed import Feed
from shared.domain.feed_file import FeedsInvalid, parse_feeds
from shared.domain.reso_access import Auth, Vendor
from shared.reso.errors import MlsUnavailable
from shared.secret_values import SecretUnreadable, read_secret

_ENV = Path(".env")
_AUTHS, _PROFILES = "|".join(Auth), "|".join(Vendor)
app = typer.Typer()


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `imagectl connect`."""

    where: Annotated[
        str, typer.Argument(metavar="URL|VENDOR", help=f"The root of a RESO Web API, or {_PROFILES.partition('|')[2]}.")
    ] = ""
    feed: Annotated[str, typer.Option(metavar="FEED", help="The new feed's name; default: the vendor's.")] = ""
    profile: Annotated[str, typer.Option(metavar="VENDOR", help="Whose rules a URL has, if its host does not say.")] = (
        ""
    )
    auth: Annotated[str, typer.Option(metavar="AUTH", help=f"{_AUTHS}; default: the vendor's.")] = ""
    token_url: Annotated[str, typer.Option(metavar="URL", help="The token endpoint; default: the vendor's.")] = ""
    scope: Annotated[str, typer.Option(metavar="SCOPE", help="The scope of tokens; default: the vendor's.")] = ""
    token_env: Annotated[str, typer.Option(metavar="NAME", help="The variable that holds the token.")] = ""
    client_id_env: Annotated[str, typer.Option(metavar="NAME", help="The variable that holds the client id.")] = ""
    client_secret_env: Annotated[str, typer.Option(metavar="NAME", help="The variable with the client secret.")] = ""
    username_env: Annotated[str, typer.Option(metavar="NAME", help="The variable that holds the user name.")] = ""
    password_env: Annotated[str, typer.Option(metavar="NAME", help="The variable that holds the password.")] = ""
    filter: Annotated[
        str, typer.Option(metavar="FILTER", help="A condition for every query: OriginatingSystemName eq 'actris'.")
    ] = ""
    check: Annotated[str, typer.Option(metavar="FEED", help="Say what has changed at the MLS of this feed.")] = ""
    start: Annotated[bool | None, typer.Option("--start/--no-start", help="Run `make up` at the end.")] = None
    yes: terminal.Yes = False
    as_json: terminal.Json = False


@app.command(
    epilog="Example: imagectl connect mlsgrid --token-env MLSGRID_TOKEN --filter \"OriginatingSystemName eq 'x'\""
)
@terminal.with_options(Options)
def connect(options: Options) -> None:
    """Ask an MLS's API what it can do, and write the feed's table.

    The table goes to feeds.toml, secrets to .env, which only its owner can read. What exists in both files stays.
    """
    if options.check:
        _check(options)
        return
    path = _feeds_path()
    chosen = _target(options)
    if _has_table(path, chosen.feed):
        terminal.fail(
            f"{path} has a feed {chosen.feed} already; name another with --feed, or use --check {chosen.feed}"
        )
    secrets = {name: _secret(key, name) for key, name in chosen.variables.items()}
    surveyed = _survey(parse_feeds(table.draft(chosen))[chosen.feed], secrets)
    written = table.table(chosen, surveyed, f"{utc_now():%Y-%m-%d}")
    if not options.as_json:
        _print(surveyed, written)
    if terminal.is_to_ask(yes=options.yes):
        terminal.ask(f"Write this into {path}, and {', '.join(secrets) or 'no secret'} into {_ENV}?")
    _write(path, written, secrets)
    if options.as_json:
        terminal.print_json({"feed": chosen.feed, "file": str(path), "found": report.found(surveyed)})
    else:
        terminal.print_line(f"wrote [feeds.{chosen.feed}] into {path}")
    _start(options, chosen.feed)


def _check(options: Options) -> None:
    """Survey the MLS of a feed again, and print what differs from the findings in the feed's table.

    Ends the process with exit code 1 if anything differs, and with a message if nothing can be compared.
    """
    path = _feeds_path()
    try:
        text = path.read_text("utf-8")
        feed = parse_feeds(text).get(options.check)
    except (OSError, FeedsInvalid) as error:
        terminal.fail(str(error), code=terminal.UNUSABLE_SETTINGS)
    if feed is None or not feed.reso_url:
        terminal.fail(f"{path} has no feed {options.check} with a reso_url")
    before = table.recorded(text, feed.name)
    if before is None:
        terminal.fail(f"[feeds.{feed.name}] has no line of what `imagectl connect` found, so nothing can be compared")
    secrets = {name: read_secret(name) for name in feed.reso_secret_names.values()}
    changed = differences(before, _survey(feed, secrets))
    if options.as_json:
        terminal.print_json({"feed": feed.name, "changed": changed})
    else:
        for line in changed or [f"nothing has changed at the MLS of {feed.name}"]:
            terminal.print_line(line)
    if changed:
        raise typer.Exit(terminal.FAILED)


def _has_table(path: Path, feed: str) -> bool:
    try:
        return path.exists() and table.has_table(path.read_text("utf-8"), feed)
    except (OSError, ValueError) as error:
        terminal.fail(f"{path} cannot be read, so nothing is added to it: {error}", code=terminal.UNUSABLE_SETTINGS)


def _feeds_path() -> Path:
    return Path(read_secret("IMAGES_FEEDS") or "feeds.toml")


def _target(options: Options) -> Target:
    where = options.where or _asked("The root of the RESO Web API, or a vendor", "VENDOR or URL")
    vendor, url = terminal.parse(target.named, where)
    profile = terminal.parse(Vendor, options.profile) if options.profile else vendor or Vendor.GENERIC
    auth = terminal.parse(Auth, options.auth) if options.auth else target.auth_of(profile)
    feed = options.feed or ("mls" if profile is Vendor.GENERIC else str(profile))
    given = {
        "reso_token_env": options.token_env,
        "reso_client_id_env": options.client_id_env,
        "reso_client_secret_env": options.client_secret_env,
        "reso_username_env": options.username_env,
        "reso_password_env": options.password_env,
    }
    condition = options.filter
    if profile is Vendor.MLSGRID and not condition:
        system = _asked("MLS Grid wants the name of one MLS in each query, such as actris", "--filter")
        condition = f"OriginatingSystemName eq '{system}'"
    return Target(
        feed=feed,
        vendor=profile,
        url=url,
        auth=auth,
        token_url=options.token_url or target.token_url_of(profile, url),
        scope=options.scope or target.scope_of(profile),
        filter=condition,
        variables=target.variables_of(feed, auth) | {key: name for key, name in given.items() if name},
    )


def _asked(question: str, option: str) -> str:
    if not sys.stdin.isatty():
        terminal.fail(f"{question}: give {option}")
    return str(typer.prompt(question, err=True)).strip()


def _secret(key: str, name: str) -> str:
    """Return the value of the variable `name`, which holds a secret; ask the operator if the variable has no value.

    `key` is the key of feeds.toml that names the variable. Ends the process with a message if there is no terminal.
    """
    try:
        value = read_secret(name)
    except SecretUnreadable as error:
        terminal.fail(str(error))
    if value:
        return value
    if not sys.stdin.isatty():
        terminal.fail(f"{name} has no value; set the variable {name}, which {key} names, and run this again")
    words = key.removeprefix("reso_").removesuffix("_env").replace("_", " ")
    return str(typer.prompt(words, err=True, hide_input=True)).strip() or terminal.fail(f"no {words} was given")


def _survey(feed: Feed, secrets: dict[str, str]) -> Findings:
    """Survey the feed's API, fetch a few photos unless their URLs are single-use, and return the findings.

    `secrets` maps the names of the feed's variables to their values. Ends the process with a message if the survey
    fails.
    """

    async def ask() -> Findings:
        async with connected(feed, secrets) as client:
            surveyed = await survey.survey(client)
        if feed.single_use_urls:  # the downloader would not get a photo that the survey has fetched
            return surveyed.findings
        headers = {
            name: value if isinstance(value, str) else secrets.get(value.name) or read_secret(value.name)
            for name, value in feed.headers.items()
        }
        got = await pictures.fetch_some(surveyed.records, headers)
        return replace(surveyed.findings, pictures=got.answers, redirect_hosts=got.redirect_hosts)

    try:
        return asyncio.run(ask())
    except MlsUnavailable as error:
        terminal.fail(f"{feed.reso_url}: {error}\n{_HINTS.get(error.failure, _HINT)}")


_HINT = "Nothing was written. Is the URL the root of the API, without a resource's name?"
_HINTS = {
    "refused": "Nothing was written. Check the token or the client's id and secret, and whether the feed is active.",
    "bad-query": "Nothing was written. The API refused a plain query; some want a condition in each (--filter).",
    "throttled": "Nothing was written. The API asks for silence; try again in an hour.",
}


def _print(findings: Findings, written: str) -> None:
    for sentence in report.found(findings):
        terminal.print_line(sentence)
    terminal.print_line("\nNot found out; ask your MLS:")
    for sentence in report.unknown(findings):
        terminal.print_line(f"- {sentence}")
    terminal.print_line(f"\n{written}")


def _write(path: Path, written: str, secrets: dict[str, str]) -> None:
    try:
        files.append_table(path, written)
        in_files = {name: value for name, value in secrets.items() if not os.environ.get(f"{name}_FILE")}
        files.put_secrets(_ENV, in_files)
    except FeedsInvalid as error:
        terminal.fail("\n".join(error.errors), code=terminal.UNUSABLE_SETTINGS)
    except (OSError, ValueError) as error:
        terminal.fail(str(error))


def _start(options: Options, feed: str) -> None:
    """If the operator wants it, start the stack and run a freshness sweep of the feed, so that photos come at once."""
    can_start = Path("Makefile").exists() and Path("local/stack.py").exists()
    if options.start is None and can_start and terminal.is_to_ask(yes=options.yes):
        is_wanted = typer.confirm("Start now (make up)?", err=True)
    else:
        is_wanted = bool(options.start)
    if is_wanted and not can_start:
        terminal.fail("there is no local stack here to start; start the services yourself")
    if is_wanted:
        if code := subprocess.run(["make", "up"], check=False).returncode:  # noqa: S607 - of this directory
            terminal.fail(
                f"the table is written, but `make up` ended with exit code {code}; mend that, and run it again"
            )
        # A scheduler that has just started may take the request up late; the command says so, and it stays requested.
        sweep = [sys.executable, "-m", "ops.imagectl", "sweep", "freshness", "--feed", feed]
        subprocess.run(sweep, check=False)  # noqa: S603 - the name of the feed is in feeds.toml
    elif not options.as_json:
        terminal.print_line("next: make up")
