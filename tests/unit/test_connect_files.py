"""How does `imagectl connect` change feeds.toml and .env? It adds what is new, and keeps every other byte."""

from pathlib import Path

import pytest
from dotenv import dotenv_values

from ops.connect import files, report, sample, table, target
from ops.connect.findings import NO, Findings, differences
from ops.connect.target import Target
from shared.domain.feed_file import FeedsInvalid, parse_feeds
from shared.domain.reso_access import Auth, Vendor
from shared.domain.reso_profiles import ROOTS

EXISTING = b"# my feeds\r\n[feeds.other]\r\nimage_hosts = [ 'a.example' ]  # mine"


def target_of(vendor: Vendor, **values: str) -> Target:
    auth = target.auth_of(vendor)
    given = {"feed": str(vendor), "url": ROOTS.get(vendor, "https://api.example/odata"), "filter": ""} | values
    return Target(
        vendor=vendor, auth=auth, token_url=target.token_url_of(vendor, given["url"]),
        scope=target.scope_of(vendor),
        variables=target.variables_of(given["feed"], auth), **given,
    )  # fmt: skip


def test_a_table_is_appended_and_every_byte_before_stays(tmp_path: Path) -> None:
    file = tmp_path / "feeds.toml"
    file.write_bytes(EXISTING)
    files.append_table(file, table.draft(target_of(Vendor.PROPTX)))
    assert file.read_bytes().startswith(EXISTING + b"\n\n[feeds.proptx]\n")
    assert list(parse_feeds(file.read_text())) == ["other", "proptx"]


def test_nothing_is_written_if_the_whole_would_not_be_valid(tmp_path: Path) -> None:
    file = tmp_path / "feeds.toml"
    file.write_bytes(EXISTING)
    with pytest.raises(FeedsInvalid):
        files.append_table(file, "[feeds.new]\nimage_hosts = []\n")
    assert [path.name for path in tmp_path.iterdir()] == ["feeds.toml"]
    assert file.read_bytes() == EXISTING


@pytest.mark.parametrize(
    "secret", ["abc-123._~+/=", "with space # and 'quote' and \\ backslash", '"double" $HOME ${X}']
)
def test_a_secret_is_read_back_as_it_was_given(tmp_path: Path, secret: str) -> None:
    file = tmp_path / ".env"
    files.put_secrets(file, {"TOKEN": secret})
    assert dotenv_values(file, interpolate=True)["TOKEN"] == secret
    assert file.stat().st_mode & 0o777 == 0o600


def test_lines_of_other_variables_stay_and_an_old_value_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# mine\nA=1\nexport TOKEN=old\nTOKEN_TOO=2")
    file.chmod(0o644)
    assert files.put_secrets(file, {"TOKEN": "new"}) == ["TOKEN"]
    assert file.read_text() == "# mine\nA=1\nTOKEN_TOO=2\nTOKEN=new\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert files.put_secrets(file, {"TOKEN": "new"}) == []


def test_a_secret_of_two_lines_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="NAME_FILE"):
        files.put_secrets(tmp_path / ".env", {"KEY": "two\nlines"})


@pytest.mark.parametrize("vendor", [vendor for vendor in Vendor if vendor is not Vendor.GENERIC])
def test_a_vendor_s_usual_table_leaves_out_what_the_profile_says(vendor: Vendor) -> None:
    text = table.table(target_of(vendor), Findings(image_hosts=("img.example",)), "2026-11-28")
    feed = parse_feeds(text)[vendor]
    assert (feed.reso.profile, feed.reso_url) == (vendor, ROOTS[vendor])
    assert "reso_token_url" not in text
    assert "requests_per" not in text.replace("imagectl connect found", "")


def test_a_table_says_what_was_found_and_a_later_survey_is_compared_with_it() -> None:
    found = Findings(
        page_rows=100, categories=("Own Photo", "b__TGlzdGluZyBQaG90bw", "Video"),
        picture_categories=("Own Photo", "b__TGlzdGluZyBQaG90bw"), image_hosts=("a.example",),
        redirect_hosts=("cdn.example",), permissions=("IDX", "Private"),
    )  # fmt: skip
    text = table.table(target_of(Vendor.SPARK), found, "2026-11-28")
    feed = parse_feeds(text)["spark"]
    assert feed.image_hosts == ("a.example", "cdn.example")
    assert feed.photo_categories[-1] == "Own Photo"
    assert "Private" not in feed.permissions
    before = table.recorded("[feeds.other]\n" + text + "\n[feeds.spark2]\n", "spark")
    assert before is not None
    assert differences(before, found) == []
    assert differences(before, Findings.from_json(found.to_json().replace("100", "50"))) == [
        "page rows: was 100, is 50"
    ]
    assert table.recorded(text, "other") is None


def test_mls_grid_s_image_hosts_get_the_token_as_agent() -> None:
    grid = target_of(Vendor.MLSGRID, filter="OriginatingSystemName eq 'actris'")
    feed = parse_feeds(table.table(grid, Findings(image_hosts=("media.mlsgrid.com",)), "2026-11-28"))["mlsgrid"]
    assert feed.image_secret_names == {"headers.User-Agent": "MLSGRID_TOKEN"}
    assert feed.reso.filter == "OriginatingSystemName eq 'actris'"


@pytest.mark.parametrize(
    ("text", "vendor", "url"),
    [
        ("mlsgrid", Vendor.MLSGRID, "https://api.mlsgrid.com/v2"),
        ("https://api-demo.mlsgrid.com/v2/", Vendor.MLSGRID, "https://api-demo.mlsgrid.com/v2"),
        ("https://notmlsgrid.com/v2", None, "https://notmlsgrid.com/v2"),
        ("http://127.0.0.1:8070/odata", None, "http://127.0.0.1:8070/odata"),
    ],
)
def test_a_vendor_or_a_url_names_the_api(text: str, vendor: Vendor | None, url: str) -> None:
    assert target.named(text) == (vendor, url)


@pytest.mark.parametrize("text", ["generic", "mls", "api.mlsgrid.com/v2", ""])
def test_the_error_for_anything_else_lists_the_vendors(text: str) -> None:
    with pytest.raises(ValueError, match="mlsgrid"):
        target.named(text)


def test_the_token_endpoint_of_a_sandbox_is_on_its_own_host() -> None:
    assert target.token_url_of(Vendor.DDF, "http://127.0.0.1:4000/odata/v1") == "http://127.0.0.1:4000/connect/token"
    assert target.token_url_of(Vendor.DDF, ROOTS[Vendor.DDF]) == "https://identity.crea.ca/connect/token"
    assert target.variables_of("my feed.1", Auth.BEARER) == {"reso_token_env": "MY_FEED_1_TOKEN"}


@pytest.mark.parametrize(
    ("category", "is_picture"),
    [
        ("Photo", True), ("Property Photo", True), ("AerialView", True), ("b__TGlzdGluZyBQaG90bw", True),
        ("Member Photo", False), ("Office Logo", False), ("Additional Pictures Website", False), ("Video", False),
        ("Floor Plan", False), ("b__!", False),
    ],
)  # fmt: skip
def test_categories_of_photos_of_the_property_are_told_by_their_words(category: str, is_picture: bool) -> None:
    assert sample.is_picture(category) is is_picture


def test_a_sample_shows_hosts_keys_times_and_whether_photos_are_missing() -> None:
    row = {"MediaURL": "https://a.example:8443/1.jpg", "MediaKey": "1", "Permission": "IDX,VOW"}
    record = {"ListingKey": "1", "PhotosCount": 2, "ModificationTimestamp": "2026-11-28T09:00:00", "Media": [row]}
    found = sample.read([record], [record], Findings(expand="always"))
    assert found["image_hosts"] == ("a.example:8443",)
    assert found["local_times"] == ("ModificationTimestamp",)
    assert (found["row_keys"], found["expand_complete"]) == ("MediaKey", NO)
    assert found["permissions"] == ("IDX", "VOW")


def test_urls_that_differ_between_two_answers_are_noticed() -> None:
    rows = [{"MediaKey": "1", "MediaURL": "https://a.example/1?x=1"}]
    signed = [{"MediaKey": "1", "MediaURL": "https://a.example/1?x=2"}]
    assert [sample.has_changed_urls(rows, others) for others in (rows, signed, [])] == ["no", "yes", "not asked"]


def test_the_report_names_each_fact_and_what_to_ask_the_mls() -> None:
    found = Findings(
        page_rows=100, rows_given=25, cuts_in_silence="yes", expand="no", media_resource="yes", operator_in="no",
        timestamps=("ModificationTimestamp",), categories=("Photo", "Video"), picture_categories=("Photo",),
        media_statuses=("Active",), row_keys="place and URL", local_times=("ModificationTimestamp",),
        image_hosts=("a.example",), redirect_hosts=("cdn.example",), urls_change="yes",
    )  # fmt: skip
    text = "\n".join(report.found(found))
    wanted = (
        "refuses pages of 1,000", "at 25 rows in silence", "read beside", "`in`", "Statuses of photos: Active",
        "left out: Video", "place and URL", "records_time_zone", "cdn.example", "differs in each answer",
    )  # fmt: skip
    for words in wanted:
        assert words in text
    asked = " ".join(report.unknown(Findings()))
    assert all(words in asked for words in ("image_hosts", "permission", "requests and bytes", "Do the photos open"))
    assert "image_hosts" not in " ".join(report.unknown(found))
