"""Builds the `image-downloaded` event of a copy."""

from collections.abc import Callable

from shared.domain.image import Copy
from shared.domain.listing import Listing
from shared.events.images import ImageDownloaded, VariantDownloaded


def image_downloaded(
    listing: Listing, image_id: str, copy: Copy, url: Callable[[str], str], *, changed: bool
) -> ImageDownloaded | None:
    """Return the data of the event that announces a photo's copy, or None if the listing no longer shows the photo.

    `url` takes an object's key and returns its public URL. `changed` is False if the copy has the same bytes as the
    copy before.
    """
    photo = listing.photo(image_id)
    if photo is None:
        return None
    full = copy.full
    return ImageDownloaded(
        feed=listing.feed,
        listing_key=listing.key,
        image_id=image_id,
        order=photo.order,
        url=url(full.key),
        content_type=full.content_type,
        width=full.width,
        height=full.height,
        file_size=full.file_size,
        sha256=copy.sha256,
        variants=tuple(
            VariantDownloaded(
                name=variant.name,
                url=url(variant.key),
                content_type=variant.content_type,
                width=variant.width,
                height=variant.height,
                file_size=variant.file_size,
            )
            for variant in copy.variants
        ),
        media_changed_at=copy.mls_changed_at,
        downloaded_at=copy.downloaded_at,
        changed=changed,
        correlation_id=photo.cause,
    )
