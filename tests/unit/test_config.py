"""Does `imagectl config` show all that is in force, and no secret? And are secrets in files used by the stack?"""

from pathlib import Path

import pytest

from local import config as stack_config
from local.processes import LocalError
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


def test_the_local_stack_uses_settings_that_are_in_files(tmp_path: Path) -> None:
    (tmp_path / "uri").write_text("mongodb://db.example.com/?replicaSet=rs0\n")
    given = {"IMAGES_MONGO_FILE": str(tmp_path / "uri")}
    (tmp_path / "home").mkdir()
    found = stack_config.prepare(tmp_path / "home", given, with_services=False)
    assert found.settings["IMAGES_MONGO"] == "mongodb://db.example.com/?replicaSet=rs0"
    assert "mongod" not in found.servers
    with pytest.raises(LocalError, match="IMAGES_MONGO_FILE: nowhere cannot be read"):
        stack_config.prepare(tmp_path / "home", {"IMAGES_MONGO_FILE": "nowhere"}, with_services=False)
