"""The page of the sandbox MLS for people: listings, links, and buttons that change listings."""

from collections.abc import Iterable
from html import escape

from local.sandbox.market import SandboxListing
from local.sandbox.vendors.rules import VendorRules

_STYLE = """
:root{color-scheme:light dark;--ink:#1d2530;--soft:#667084;--card:#fff;--line:#e3e6ec;--back:#f5f6f8;--mark:#c2552b}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf0;--soft:#98a2b3;--card:#1c222b;--line:#2d3440;--back:#12161c}}
*{box-sizing:border-box}body{margin:0;font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--back)}
header{padding:36px max(24px,6vw) 20px}h1{margin:0;font-size:30px;letter-spacing:-.02em}h1 b{color:var(--mark)}
p{max-width:70ch;color:var(--soft);margin:8px 0}a{color:var(--mark)}nav a{margin-right:18px}
main{display:grid;gap:20px;padding:12px max(24px,6vw) 60px;grid-template-columns:repeat(auto-fill,minmax(270px,1fr))}
article{background:var(--card);border:1px solid var(--line);border-radius:14px;overflow:hidden}
article.off img{filter:grayscale(1);opacity:.5}img{display:block;width:100%;aspect-ratio:3/2;object-fit:cover}
article>div{padding:12px 16px 16px}h2{margin:0;font-size:16px}small{color:var(--soft);display:block}
em{float:right;font-style:normal;font-size:12px;border:1px solid var(--line);border-radius:99px;padding:1px 9px}
button{font:inherit;font-size:12.5px;margin:8px 4px 0 0;padding:3px 10px;border-radius:8px;cursor:pointer;
border:1px solid var(--line);background:none;color:inherit}button:hover{border-color:var(--mark);color:var(--mark)}
"""
_SCRIPT = """
document.addEventListener("click", async event => {
  const button = event.target.closest("button"); if (!button) return;
  const body = button.dataset.key ? {key: button.dataset.key} : {};
  const answer = await fetch("/control/" + button.dataset.change,
    {method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body)});
  if (answer.ok) location.reload(); else alert(await answer.text());
});
"""
_CHANGES = (
    ("change-photo", "New photo"),
    ("reorder", "Reorder"),
    ("withdraw-photo", "Drop a photo"),
    ("withdraw", "Withdraw"),
    ("opt-out", "Opt out"),
    ("reactivate", "Reactivate"),
)


def index(listings: Iterable[SandboxListing], image_requests: int, vendor: VendorRules) -> str:
    """Return the sandbox's page for people as HTML: all listings, links, and buttons that change listings.

    `image_requests` is the number of requests for pictures so far, `vendor` the rules of the vendor that is emulated.
    """
    listings = list(listings)
    photos = sum(len(listing.photos) for listing in listings)
    cards = "\n".join(_card(listing) for listing in listings)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Sandbox MLS</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
<style>{_STYLE}</style>
<header><h1>Sandbox <b>MLS</b></h1>
<p>{len(listings)} listings with {photos} photos, on this machine only, as {escape(vendor.title)} would tell of them.
Its pictures were requested {image_requests:,} times.
The buttons change listings as an agent would. Only the Web API shows the changes: the sandbox publishes no events.</p>
<nav>
<a href="{vendor.root}/Property?$expand=Media&amp;$top=3">RESO Web API</a><a href="/control/requests">Requests</a>
<a href="/control/properties">All records</a><a href="/control/feeds.toml">feeds.toml</a></nav>
<button data-change="re-sign">Re-sign all image URLs</button><button data-change="reset">Reset counts</button></header>
<main>{cards}</main><script>{_SCRIPT}</script></html>"""


def _card(listing: SandboxListing) -> str:
    key, facts = escape(listing.key), listing.facts
    status = "Opted out" if listing.is_opted_out else listing.status
    is_off = listing.is_opted_out or listing.status != listing.first_status
    named = f'data-key="{key}"'
    buttons = "".join(f'<button data-change="{name}" {named}>{label}</button>' for name, label in _CHANGES)
    return f"""<article{' class="off"' if is_off else ""}>{_cover(listing)}<div>
<em>{escape(status)}</em><h2>${facts["ListPrice"]:,}</h2>{escape(str(facts["UnparsedAddress"]))}
<small>{key} · {escape(str(facts["PropertySubType"]))} · {len(listing.photos)} photos</small>{buttons}
</div></article>"""


def _cover(listing: SandboxListing) -> str:
    if not listing.photos:
        return ""
    first = listing.photos[0]
    address = f"/preview/{escape(listing.key)}/{first.object_id}?v={first.shot.version}"
    return f'<img loading="lazy" src="{address}" alt="{escape(first.caption)}">'
