"""Does `imagectl config` show all that is in force, and no secret?"""

from ops import config
from shared.domain.feed_file import parse_feeds
from shared.settings import Settings

FEEDS = """
[feeds.f]
image_hosts = ["photos.example.com"]
headers = { X-Key = "s3cret", User-Agent = { env = "AGENT" } }
reso_url = "https://mls.example.com"
reso_profile = "mlsgrid"
reso_query = { key = "s3cret" }
refresh_url_hook = "https://ingest.example.com/urls?key=s3cret"
"""


def test_the_rules_of_a_feed_are_shown_as_keys_of_feeds_toml_without_secrets() -> None:
    shown = config.to_json(Settings(), parse_feeds(FEEDS))
    assert "s3cret" not in str(shown)
    rules = shown["feeds"]["f"]
    assert (rules["reso_profile"], rules["reso_requests_per_hour"]) == ("mlsgrid", 7_200)
    assert rules["headers"].keys() == {"X-Key", "User-Agent"}
    assert rules["refresh_url_hook"] == "https://ingest.example.com/urls?**********"
