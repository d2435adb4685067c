"""The records of the market as a vendor writes them: which listings it tells of, their fields, and their Media rows."""

import base64
from datetime import UTC, datetime, timedelta

from local.sandbox import naming
from local.sandbox.market import ALL_SIZES, Market, Record, SandboxListing
from local.sandbox.pictures import PictureUrls
from local.sandbox.vendors.rules import VendorRules
from shared.clock import Clock

_EXTRA_EVERY = 3


class VendorRecords:
    """Property records and Media rows of a market by a vendor's rules. `urls` makes their MediaURLs."""

    def __init__(self, vendor: VendorRules, market: Market, urls: PictureUrls, clock: Clock) -> None:
        self._vendor, self._market, self._urls, self._clock = vendor, market, urls, clock
        self._stable_rows: dict[tuple[str, ...], list[Record]] = {}
        """The Media rows of listings whose URLs stay, by ListingKey, timestamps and signing key."""

    def listings(self) -> list[SandboxListing]:
        """Return the listings that the vendor tells of now, in the order of the market."""
        return [listing for listing in self._market.listings.values() if self._is_reported(listing)]

    def _is_reported(self, listing: SandboxListing) -> bool:
        rules = self._vendor.records
        if rules.gone == "status" or naming.is_on_market(listing):
            return True
        days = timedelta(days=rules.flag_days)
        return rules.gone == "flag" and datetime.fromisoformat(listing.modified_at) > self._clock() - days

    def find(self, key: str) -> SandboxListing:
        """Return the listing with the vendor's ListingKey `key`.

        Raises KeyError if the vendor tells of none.
        """
        for listing in self.listings():
            if self._facts(listing)["key"] == key:
                return listing
        raise KeyError(f"there is no listing {key}")

    def bare(self, listing: SandboxListing) -> Record:
        """Return a listing's Property record without Media rows."""
        rules, facts = self._vendor.records, self._facts(listing)
        record = self._market.bare(listing) | {"ListingKey": facts["key"]}
        kept = {name: value for name, value in record.items() if name not in rules.drop}
        return self._written(kept | naming.filled(rules.fields, facts))

    def media(self, listing: SandboxListing, *, is_broken: bool = False) -> list[Record]:
        """Return a listing's Media rows. With `is_broken`, their MediaURLs lead nowhere."""
        if self._vendor.pictures.seconds:
            return self._made_media(listing, is_broken=is_broken)
        version = (listing.key, listing.modified_at, listing.media_changed_at, self._market.signing_key)
        if version not in self._stable_rows:
            self._stable_rows[version] = self._made_media(listing, is_broken=is_broken)
        return [dict(row) for row in self._stable_rows[version]]

    def _made_media(self, listing: SandboxListing, *, is_broken: bool) -> list[Record]:
        rules, facts = self._vendor.rows, self._facts(listing)
        rows: list[Record] = []
        for order, photo in enumerate(listing.photos):
            for size in (ALL_SIZES[name] for name in rules.sizes):
                url = self._urls.url(listing, photo, size, is_broken=is_broken)
                known = naming.of_photo(listing, photo, order, size, facts) | {"url": url}
                row = naming.filled(rules.fields, known) or self._market.row(listing, photo, order, size)
                rows.append(self._written(row | naming.filled(rules.replaced, known)))
        if int(str(facts["number"])) % _EXTRA_EVERY == 1:
            rows += [self._written(naming.filled(extra, facts)) for extra in rules.extra]
        return rows

    def _facts(self, listing: SandboxListing) -> dict[str, object]:
        return naming.of_listing(listing, self._vendor.records.key)

    def _written(self, record: Record) -> Record:
        """Return a record with its status and its times as the vendor writes them."""
        rules = self._vendor.records
        for name, value in record.items():
            if name.endswith("Timestamp") and isinstance(value, str):
                record[name] = _time(value, rules.times)
        if "StandardStatus" in record:
            record["StandardStatus"] = status(str(record["StandardStatus"]), rules.statuses)
        return record


def status(name: str, notation: str) -> str:
    """Return a StandardStatus in one of the notations of `Records.statuses`."""
    if notation == "enum":
        return name.replace(" ", "")
    if notation == "encoded" and " " in name:
        return "b__" + base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
    return name


def _time(text: str, notation: str) -> str:
    moment = datetime.fromisoformat(text).astimezone(UTC)
    if notation == "offset":
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}-00:00"
    if notation == "two-decimals":
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 10_000:02}Z"
    return text
