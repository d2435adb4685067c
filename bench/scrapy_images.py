"""Run Scrapy's ImagesPipeline and print photos per second. Standard input is JSON: `urls`, and `folder` to store in."""

import json
import sys
import time

import scrapy
from scrapy.crawler import CrawlerProcess


class Photos(scrapy.Spider):  # type: ignore[misc]
    """A Scrapy spider that gives an item for each URL to the ImagesPipeline, which downloads the photo at the URL."""

    name = "photos"

    async def start(self):  # type: ignore[no-untyped-def]
        """Yield an item for each URL. Scrapy calls this once at the start; the spider requests no page itself."""
        for url in self.urls:
            yield {"image_urls": [url]}


def main() -> None:
    """Read the URLs, run the pipeline, and print photos per second; exit with a message if a photo is missing."""
    given = json.load(sys.stdin)
    process = CrawlerProcess(
        {
            "ITEM_PIPELINES": {"scrapy.pipelines.images.ImagesPipeline": 1},
            "IMAGES_STORE": given["folder"],
            "IMAGES_THUMBS": {"full": (1600, 1600), "card": (800, 800), "thumb": (320, 320)},
            "CONCURRENT_REQUESTS": 32,
            "CONCURRENT_REQUESTS_PER_DOMAIN": 32,
            "DOWNLOAD_DELAY": 0,
            "LOG_LEVEL": "ERROR",
        }
    )
    crawler = process.create_crawler(Photos)
    process.crawl(crawler, urls=given["urls"])
    began = time.monotonic()
    process.start()
    seconds = time.monotonic() - began
    done = crawler.stats.get_value("file_count", 0)
    if done != len(given["urls"]):
        sys.exit(f"{done} of {len(given['urls'])} photos")
    print(done / seconds)


if __name__ == "__main__":
    main()
