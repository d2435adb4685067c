"""The sandbox's listings as the emulated vendor shows them: which listings, with which fields and Media rows."""

import base64
from datetime import UTC, datetime, timedelta

from local.sandbox import naming
from local.sandbox.market import ALL_SIZES, Market, Record, SandboxListing
from local.sandbox.pictures import PictureUrls
from local.sandbox.vendors.rules import VendorRules
from shared.clock import Clock

_EXTRA_EVERY = 3


class VendorRecords:
    """Makes the Property records and Media rows of the sandbox's listings by a vendor's rules.

    `urls` makes the MediaURLs of the rows.
    """

    def __init__(self, vendor: VendorRules, market: Market, urls: PictureUrls, clock: Clock) -> None:
        self._vendor, self._market, self._urls, self._clock = vendor, market, urls, clock
        self._stable_rows: dict[tuple[str, ...], list[Record]] = {}
        """Media rows whose URLs stay the same in each answer, by ListingKey, timestamps and signing key."""

    def listings(self) -> list[SandboxListing]:
        """Return the sandbox's listings that the vendor's API shows now, in the order in which the sandbox holds them.

        By the vendor's rules, the API shows all listings, or only listings on the market, or also listings that left
        the market within the last days.
        """
        return [listing for listing in self._market.listings.values() if self._is_reported(listing)]

    def _is_reported(self, listing: SandboxListing) -> bool:
        rules = self._vendor.records
        if rules.gone == "status" or naming.is_on_market(listing):
            return True
        days = timedelta(days=rules.flag_days)
        return rules.gone == "flag" and datetime.fromisoformat(listing.modified_at) > self._clock() - days

    def find(self, key: str) -> SandboxListing:
        """Return the listing whose ListingKey, as the vendor writes it, is `key`.

        Raises KeyError if the vendor's API shows no such listing now.
        """
        for listing in self.listings():
            if self._facts(listing)["key"] == key:
                return listing
        raise KeyError(f"there is no listing {key}")

    def bare(self, listing: SandboxListing) -> Record:
        """Return a listing's Property record as the vendor writes it, without Media rows."""
        rules, facts = self._vendor.records, self._facts(listing)
        record = self._market.bare(listing) | {"ListingKey": facts["key"]}
        kept = {name: value for name, value in record.items() if name not in rules.drop}
        return self._written(kept | naming.filled(rules.fields, facts))

    def media(self, listing: SandboxListing, *, is_broken: bool = False) -> list[Record]:
        """Return a listing's Media rows as the vendor writes them.

        With `is_broken`, the rows' MediaURLs name no existing photo, as some vendors answer a `$select` without the
        ListingKey.
        """
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
        """Write the record's status and times in the vendor's notation, in `record` itself, and return it."""
        rules = self._vendor.records
        for name, value in record.items():
            if name.endswith("Timestamp") and isinstance(value, str):
                record[name] = _time(value, rules.times)
        if "StandardStatus" in record:
            record["StandardStatus"] = status(str(record["StandardStatus"]), rules.statuses)
        return record


def status(name: str, notation: str) -> str:
    """Return the StandardStatus `name` in one of the notations that `Records.statuses` in a vendor's rules names.

    `enum` leaves out the blanks; `encoded` writes a name with blanks in base64; `display` leaves the name as it is.
    """
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
