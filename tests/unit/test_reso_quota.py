"""Are requests to an MLS's API counted for all processes, and held back when the MLS says so?"""

from datetime import timedelta

import pytest

from shared.clock import utc_now
from shared.domain.failures import Reason
from shared.domain.feed import Feed
from shared.domain.feed_file import parse_feeds
from shared.domain.reso_access import ResoAccess, Vendor
from shared.origin_budget import codec
from shared.origin_budget.budget import OriginBudget
from shared.origin_budget.ledger import Breaker, Ledger
from shared.origin_budget.moments import to_moment
from shared.reso.errors import MlsFailure, MlsUnavailable
from shared.reso.quota import ApiQuota
from shared.stores.memory import MemoryLedgers
from tests.builders import FEED, a_feed

URL = "https://mls.example.com/odata"


def api_feed(**limits: float) -> Feed:
    given = {"requests_per_second": 0, **limits}
    return a_feed(reso_url=URL, reso=ResoAccess(**given))  # type: ignore[arg-type]


def together(**rules: int) -> Feed:
    text = "\n".join(f"{key} = {value}" for key, value in rules.items())
    hosts = 'image_hosts = ["photos.example.com"]\nreso_profile = "mlsgrid"'
    return parse_feeds(f'[feeds.{FEED}]\n{hosts}\nreso_url = "{URL}"\n{text}')[FEED]


class Mls:
    """An MLS whose API several processes ask, each with a budget and a quota of its own."""

    def __init__(self, feed: Feed) -> None:
        self.feed, self.ledgers = feed, MemoryLedgers()

    def quota(self, worker: str = "one", wait: float = 0.0) -> ApiQuota:
        return ApiQuota(self.feed, OriginBudget(self.ledgers, worker), utc_now, max_wait_seconds=wait)

    async def ledger(self, name: str = f"{FEED}:api") -> Ledger:
        return (await self.ledgers.get(name)).ledger


async def ask(quota: ApiQuota, error: MlsUnavailable | None = None, **headers: str) -> None:
    async with quota.request() as request:
        await request.confirm()
        request.receive(1_000)
        if error:
            raise error
        request.read({name.replace("_", "-"): value for name, value in headers.items()})


async def spent(quota: ApiQuota) -> float:
    with pytest.raises(MlsUnavailable) as raised:
        await ask(quota)
    assert raised.value.failure is MlsFailure.QUOTA
    assert raised.value.wait_seconds is not None
    return raised.value.wait_seconds


@pytest.mark.parametrize(("limit", "seconds"), [("requests_per_hour", 3_600), ("requests_per_day", 86_400)])
async def test_all_processes_share_the_limits_of_an_hour_and_a_day(limit: str, seconds: int) -> None:
    mls = Mls(api_feed(**{limit: 3}))
    for worker in ("one", "two", "three"):
        await ask(mls.quota(worker))
    assert seconds < await spent(mls.quota("four")) < seconds + 1_000
    assert (await mls.ledger(FEED)).hour_requests == (), "the photos have a ledger of their own"


async def test_requests_of_all_processes_keep_the_rate() -> None:
    mls = Mls(api_feed(requests_per_second=2))
    times: set[int] = set()
    for worker in ("one", "two", "one", "two"):
        await ask(mls.quota(worker, wait=30.0))
        times |= set((await mls.ledger()).planned)
    planned = sorted(times)
    assert len(planned) == 4
    assert all(later - at > 1_000_000 for at, later in zip(planned, planned[2:], strict=False))


async def test_a_429_silences_all_processes_for_as_long_as_the_mls_says() -> None:
    mls = Mls(api_feed())
    with pytest.raises(MlsUnavailable, match="throttled"):
        await ask(mls.quota("one"), MlsUnavailable(MlsFailure.THROTTLED, "429", 600.0))
    assert 590 < await spent(mls.quota("two")) < 602


async def test_another_failure_silences_nobody() -> None:
    mls = Mls(api_feed())
    for _ in range(50):
        with pytest.raises(MlsUnavailable, match="refused"):
            await ask(mls.quota(), MlsUnavailable(MlsFailure.REFUSED, "403"))
    await ask(mls.quota())
    assert (await mls.ledger()).breaker is None


async def test_an_answer_that_leaves_no_request_silences_all_processes() -> None:
    mls = Mls(api_feed())
    await ask(mls.quota("one"), Burst_RateLimit_Remaining="0", Burst_RateLimit_Reset="30")
    assert 20 < await spent(mls.quota("two")) < 32


async def test_lower_limits_that_the_mls_tells_are_kept() -> None:
    mls = Mls(api_feed(requests_per_hour=1_000))
    quota = mls.quota()
    await ask(quota, Hour_Quota_Limit="2.0")
    await ask(quota)
    assert await spent(quota) > 3_000


async def test_photos_and_api_share_a_ledger_if_the_vendor_counts_them_together() -> None:
    feed = together(requests_per_hour=10, reso_requests_per_hour=50, requests_per_second=0, reso_requests_per_second=0)
    assert (feed.requests_per_hour, feed.reso.requests_per_hour) == (10, 10)
    mls = Mls(feed)
    for _ in range(8):  # two are kept for viewed photos
        await ask(mls.quota())
    await spent(mls.quota())
    ledger = await mls.ledger(FEED)
    assert sum(amount for _, amount in ledger.hour_requests) == 8
    assert sum(amount for _, amount in ledger.hour_bytes) == 8_000
    assert ledger.slots == {}


async def test_an_open_breaker_of_the_photos_does_not_stop_the_api_that_shares_the_ledger() -> None:
    mls = Mls(together())
    stored = await mls.ledgers.get(FEED)
    breaker = Breaker(Reason.FORBIDDEN, 30.0, to_moment(utc_now() + timedelta(hours=1)), "probe")
    opened = Ledger(breaker=breaker, failed_images=("a",), failed_reason=Reason.FORBIDDEN)
    await mls.ledgers.replace(FEED, codec.to_document(opened), stored.revision)
    await ask(mls.quota(wait=5.0))
    ledger = await mls.ledger(FEED)
    assert (ledger.breaker, ledger.failed_images) == (breaker, ("a",))


def test_a_feed_without_an_api_counts_its_photos_alone() -> None:
    hosts = 'image_hosts = ["photos.example.com"]\nreso_profile = "mlsgrid"'
    feed = parse_feeds(f"[feeds.{FEED}]\n{hosts}\nrequests_per_hour = 9\nreso_requests_per_hour = 5")[FEED]
    assert (feed.reso.profile, feed.requests_per_hour) == (Vendor.MLSGRID, 9)
