"""Says in words for operators what a survey found, and what the operator must ask the MLS."""

from collections.abc import Iterator

from ops.connect.findings import NO, NOT_ASKED, YES, Findings
from shared.domain.words import readable


def found(findings: Findings) -> list[str]:
    """Return sentences for the operator about what the survey found."""
    return [*_of_pages(findings), *_of_queries(findings), *_of_records(findings), *_of_pictures(findings)]


def _of_pages(findings: Findings) -> Iterator[str]:
    asked, given = findings.page_rows, findings.rows_given
    if not asked:
        return
    yield (
        f"The API takes pages of {asked:,} rows."
        if asked == 1_000
        else (f"The API refuses pages of 1,000 rows; it takes {asked:,}.")
    )
    if given < asked and findings.next_link == YES:
        yield f"It cuts pages at {given:,} rows, and says where the next page is."
    elif findings.cuts_in_silence == YES:
        yield f"It cuts pages at {given:,} rows in silence. Reading goes on until an empty page, so nothing is lost."
    elif findings.cuts_in_silence == NO and given < asked:
        yield f"It has {given:,} listings."


def _of_queries(findings: Findings) -> Iterator[str]:
    if findings.expand == "always":
        yield "Photos come with each record, without being asked for."
    elif findings.expand == "on request":
        yield "Photos come with the records ($expand=Media)."
    elif findings.media_resource == YES:
        yield "Photos do not come with the records; they are read beside them, from the resource Media."
    if findings.expand_complete == NO:
        yield "Some records came with fewer photos than they count; the rest is read beside them."
    words = {"operator_in": "the operator `in`", "key_after": "a search from a ListingKey on"}
    for name, meaning in words.items():
        if getattr(findings, name) == NO:
            yield f"The API does not take {meaning}; other queries are used."
    if findings.sorting == NO:
        yield "The API does not sort by ModificationTimestamp."


def _of_records(findings: Findings) -> Iterator[str]:
    if findings.timestamps:
        yield f"Timestamps: {_listed(findings.timestamps)}."
    if findings.statuses:
        yield f"Statuses seen: {_listed(findings.statuses)}."
    others = [name for name in findings.categories if name not in findings.picture_categories]
    if findings.categories:
        yield f"Categories taken for photos: {_listed(findings.picture_categories)}; left out: {_listed(others)}."
    if findings.media_statuses:
        yield f"Statuses of photos: {_listed(findings.media_statuses)}."
    if findings.sizes:
        yield f"Sizes: {_listed(findings.sizes)}."
    if findings.permissions:
        yield f"Permissions: {_listed(findings.permissions)}."
    if findings.row_keys == "place and URL":
        yield "Photos have no key of their own; place and URL identify them."
    if findings.local_times:
        yield f"Times without a time zone: {_listed(findings.local_times)}; set records_time_zone."


def _of_pictures(findings: Findings) -> Iterator[str]:
    if findings.image_hosts:
        yield f"Photos are at {_listed(findings.image_hosts)}."
    if findings.redirect_hosts:
        yield f"Requests for photos were redirected to {_listed(findings.redirect_hosts)}."
    for picture in findings.pictures:
        yield f"A photo was fetched: {picture}."
    if findings.urls_change == YES:
        yield "The URL of a photo differs in each answer: URLs are signed, and do not say that a photo changed."


def unknown(findings: Findings) -> list[str]:
    """Return the questions that the survey could not answer, and that the operator should ask the MLS."""
    open_questions = [
        "How many requests and bytes are allowed in a second, an hour and a day? A survey must not try.",
        "How long does the URL of a photo work, and how often?",
        "How soon must photos go after a listing leaves the market?",
    ]
    if not findings.image_hosts:
        open_questions.insert(
            0, "Which hosts have the photos? No record with photos was seen; add them to image_hosts."
        )
    if not findings.permissions:
        open_questions.append("May every photo be shown? No row names a permission.")
    if findings.expand_complete == NOT_ASKED and findings.expand != NO:
        open_questions.append("Do all photos of a listing come? No record counts its photos.")
    if not findings.pictures:
        open_questions.append("Do the photos open? None was fetched.")
    return open_questions


def _listed(values: tuple[str, ...] | list[str]) -> str:
    return (
        ", ".join(f"{value} ({readable(value)})" if readable(value) != value else value for value in values) or "none"
    )
