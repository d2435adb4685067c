"""What is read together is few queries, and each who asks gets what it asked for."""

import asyncio

from prometheus_client import CollectorRegistry

from services.resolver.cache_metrics import CacheMetrics
from services.resolver.catalog import Catalog, Question
from services.resolver.policy import CachePolicy
from tests.answering import Watched
from tests.builders import FEED, a_downloaded_photo, a_listing, a_photo


async def test_questions_of_any_shape_that_come_together_are_two_queries() -> None:
    listings = Watched()
    held = [a_downloaded_photo(f"p{number}", key="X1") for number in range(5)]
    await listings.write(
        [
            a_listing(*held, a_photo("p5", key="X1"), key="X1"),
            a_listing(a_photo("p0", key="X1", feed="other"), key="X1", feed="other"),
            a_listing(*(a_photo(f"p{number}", key="X2") for number in range(60)), key="X2"),
            *(a_listing(a_photo(key=f"Y{number}"), key=f"Y{number}") for number in range(50)),
        ]
    )
    catalog = Catalog(
        listings, CachePolicy(asyncio.get_running_loop().time), CacheMetrics(CollectorRegistry()), 10_000_000
    )
    feeds, photos_of_each = (FEED, "other", None, "no such"), (None, 1, 3, 6, 99)
    shapes = [Question("X1", feed, photos) for feed in feeds for photos in photos_of_each]
    shapes += [Question("X2", None, 55), Question("X2", None, 2)]
    many = [Question(f"Y{number}", f"f{number}" if number % 2 else FEED, number + 1) for number in range(50)]
    found = await catalog.pages([*shapes, *many])
    assert listings.readings == 2

    def shown(feed: str | None, photos: int | None, key: str = "X1") -> list[tuple[str, int, int]]:
        pages = found[Question(key, feed, photos)]
        return sorted((page.one[0], page.body.plain.count(b'"order"'), len(page.missing)) for page in pages)

    whole, begun = [("other", 1, 1), (FEED, 6, 1)], [("other", 1, 1), (FEED, 3, 0)]
    assert [shown(None, photos) for photos in (None, 99, 6, 3)] == [whole, whole, whole, begun]
    assert [shown(FEED, photos) for photos in (None, 3, 1)] == [[(FEED, 6, 1)], [(FEED, 3, 0)], [(FEED, 1, 0)]]
    assert [shown("no such", photos) for photos in (None, 1)] == [[], []]
    assert [shown(None, photos, "X2") for photos in (55, 2)] == [[(FEED, 55, 55)], [(FEED, 2, 2)]]
    assert [len(found[question]) for question in many] == [0 if number % 2 else 1 for number in range(50)]
