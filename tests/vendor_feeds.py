"""Feeds that read the sandbox as it plays a vendor."""

from local.sandbox import Sandbox
from local.sandbox.access import CLIENT_ID, CLIENT_SECRET
from ops.connect import client, table, target
from ops.connect.findings import Findings
from ops.connect.target import Target
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds
from shared.domain.reso_access import Vendor
from shared.reso.odata import MlsClient

SECRETS = {"reso_client_id_env": CLIENT_ID, "reso_client_secret_env": CLIENT_SECRET}


def target_of(mls: Sandbox, feed: str = "") -> Target:
    """Return the running emulator as what `imagectl connect` connects."""
    vendor = Vendor(mls.vendor.name)
    auth, name = target.auth_of(vendor), feed or str(vendor)
    return Target(
        feed=name, vendor=vendor, url=mls.web_api, auth=auth, token_url=target.token_url_of(vendor, mls.web_api),
        scope=target.scope_of(vendor),
        filter="OriginatingSystemName eq 'actris'" if vendor is Vendor.MLSGRID else "",
        variables=target.variables_of(name, auth),
    )  # fmt: skip


def secrets_of(mls: Sandbox, feed: str = "") -> dict[str, str]:
    """Return the values of the secrets of a feed that `target_of` names, by variable."""
    variables = target_of(mls, feed).variables
    return {name: SECRETS.get(key, mls.token) for key, name in variables.items()}


def feed_of(mls: Sandbox) -> Feed:
    """Return a feed that reads a running emulator as `imagectl connect` would write it."""
    target = target_of(mls)
    found = Findings(image_hosts=(mls.host,))
    return parse_feeds(table.table(target, found, "2026-11-28"))[target.feed]


def client_of(mls: Sandbox, feed: Feed, pause_seconds: float = 0.02) -> MlsClient:
    """Return a client of a running emulator that pauses so long between two requests; the caller closes it."""
    return client.client_of(feed, secrets_of(mls), pause_seconds)
