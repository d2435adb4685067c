"""Which variants does a photo get? Parses the variants setting, and hashes it for the keys of objects."""

import hashlib
import re
from dataclasses import dataclass
from types import MappingProxyType

RENDERING_RULES = 3
"""The version of the code that makes variants. Raise it with each change that makes other bytes of the same photo."""
RESIZERS = ("cykooz-resizer", "pillow")
"""The libraries that may resize photos. Which of them a downloader has depends on its machine; their bytes differ."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of variants. No side of a picture in this format may be longer than `max_side_pixels`."""

    extension: str
    content_type: str
    max_side_pixels: int


FORMATS = MappingProxyType(
    {
        "webp": Format("webp", "image/webp", 16_383),
        "jpeg": Format("jpg", "image/jpeg", 65_500),
        "avif": Format("avif", "image/avif", 16_384),
    }
)
_ALIASES = MappingProxyType({"jpg": "jpeg"})
_SHAPE = "name=width:format:quality, such as full=1600:webp:80, or with a height to crop, such as tile=400x300:webp:75"


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """The setting of a variant: at most `width` pixels wide, in a format of `FORMATS`, with a quality from 1 to 100.

    With a `height` (pixels), the variant is a crop: a piece around the photo's centre that fills `width` by `height`.
    """

    name: str
    width: int
    format: str
    quality: int
    height: int | None = None

    def __str__(self) -> str:
        """Return the variant as the setting writes it, such as `thumb=320:webp:75` or `share=1200x630:jpeg:82`."""
        box = f"{self.width}x{self.height}" if self.height else str(self.width)
        return f"{self.name}={box}:{self.format}:{self.quality}"

    @property
    def is_cropped(self) -> bool:
        """True if the variant is a crop."""
        return self.height is not None

    @property
    def extension(self) -> str:
        """The extension of the names of this variant's files, without the dot."""
        return FORMATS[self.format].extension

    @property
    def content_type(self) -> str:
        """The Content-Type that this variant's files are served with."""
        return FORMATS[self.format].content_type


def parse_variants(setting: str) -> tuple[VariantSpec, ...]:
    """Parse a variants setting such as `thumb=320:webp:75,full=1600:webp:80`; return its variants, widest first.

    There must be a variant named `full`, and it must not be a crop. Raises ValueError, which names all errors of the
    setting, if there is any.
    """
    specs: list[VariantSpec] = []
    errors: list[str] = []
    for text in filter(None, (part.strip() for part in setting.split(","))):
        try:
            specs.append(_parse_spec(text))
        except ValueError as error:
            errors.append(str(error))
    names = [spec.name for spec in specs]
    errors += [f"the variant {name!r} is given twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if not errors and "full" not in names:
        errors.append("a variant named 'full' is required: the url of an image opens this variant")
    if any(spec.name == "full" and spec.height for spec in specs):
        errors.append("'full' shows the whole photo: write it without a height, and give the crop another name")
    if errors:
        raise ValueError("; ".join(errors))
    return tuple(sorted(specs, key=lambda spec: (-spec.width, spec.name)))


def _parse_spec(text: str) -> VariantSpec:
    name, _, rendering = (part.strip() for part in text.partition("="))
    if not re.fullmatch(r"[a-z0-9-]+", name):
        raise ValueError(f"{text!r}: a variant's name is of a-z, 0-9 and '-'; write {_SHAPE}")
    parts = [part.strip() for part in rendering.split(":")]
    if len(parts) != 3:
        raise ValueError(f"{text!r} must read {_SHAPE}")
    box, form, quality = parts
    width, crops, height = box.lower().partition("x")
    form = _ALIASES.get(form.lower(), form.lower())
    if form not in FORMATS:
        raise ValueError(f"{text!r}: the format must be one of {', '.join(FORMATS)}")
    return VariantSpec(
        name,
        _whole_number(text, "width", width, 16, 16_383),
        form,
        _whole_number(text, "quality", quality, 1, 100),
        _whole_number(text, "height", height, 16, 16_383) if crops else None,
    )


def _whole_number(text: str, name: str, value: str, minimum: int, maximum: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value) or not minimum <= int(value) <= maximum:
        raise ValueError(f"{text!r}: the {name} must be a whole number from {minimum} to {maximum}")
    return int(value)


def rendering(specs: tuple[VariantSpec, ...], resizer: str) -> str:
    """Return a hash of all that decides the bytes of variants made from an original, as 8 hex digits.

    These are the variants setting `specs` in any order, the library `resizer` (one of `RESIZERS`), and the version of
    our rules. The keys of variants contain the hash. So a URL never leads to other bytes than before.
    """
    parts = [str(RENDERING_RULES), resizer, *sorted(map(str, specs))]
    return hashlib.sha256(",".join(parts).encode()).hexdigest()[:8]


def current_renderings(specs: tuple[VariantSpec, ...]) -> frozenset[str]:
    """Return the renderings of copies that need no rebuild: one for each library in `RESIZERS`, by the present rules.

    So downloaders with different libraries do not rebuild each other's copies.
    """
    return frozenset(rendering(specs, resizer) for resizer in RESIZERS)
