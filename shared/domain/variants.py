"""Which variants does a photo get? Parses the variants setting, and hashes it for the keys of objects."""

import hashlib
import re
from dataclasses import dataclass
from types import MappingProxyType

RENDERING_RULES = 2
"""The version of the code that makes variants. Raise it with each change that makes other bytes of the same photo."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format of variants. No side of a picture in this format is longer than `max_side_pixels`."""

    extension: str
    content_type: str
    max_side_pixels: int


FORMATS = MappingProxyType(
    {
        "webp": Format("webp", "image/webp", 16_383),
        "jpeg": Format("jpg", "image/jpeg", 65_500),
    }
)
_ALIASES = MappingProxyType({"jpg": "jpeg"})
_SHAPE = "name=width:format:quality, such as full=1600:webp:80"


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """The setting of a variant: at most `width` pixels wide, in a format of `FORMATS`, with a quality of 1 to 100."""

    name: str
    width: int
    format: str
    quality: int

    def __str__(self) -> str:
        """Return the variant as the setting writes it, such as `thumb=320:webp:75`."""
        return f"{self.name}={self.width}:{self.format}:{self.quality}"

    @property
    def extension(self) -> str:
        """The extension of the names of this variant's files, without a dot."""
        return FORMATS[self.format].extension

    @property
    def content_type(self) -> str:
        """The Content-Type that this variant's files are served with."""
        return FORMATS[self.format].content_type


def parse_variants(setting: str) -> tuple[VariantSpec, ...]:
    """Parse a variants setting such as `thumb=320:webp:75,full=1600:webp:80`; return its variants, widest first.

    Raises ValueError with all errors at once; a setting without a variant named `full` is an error.
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
    width, form, quality = parts
    form = _ALIASES.get(form.lower(), form.lower())
    if form not in FORMATS:
        raise ValueError(f"{text!r}: the format must be one of {', '.join(FORMATS)}")
    return VariantSpec(
        name,
        _whole_number(text, "width", width, 16, 16_383),
        form,
        _whole_number(text, "quality", quality, 1, 100),
    )


def _whole_number(text: str, name: str, value: str, minimum: int, maximum: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value) or not minimum <= int(value) <= maximum:
        raise ValueError(f"{text!r}: the {name} must be a whole number from {minimum} to {maximum}")
    return int(value)


def rendering(specs: tuple[VariantSpec, ...]) -> str:
    """Return a hash of the variants setting and of the version of the rules that make variants, as 8 hex digits.

    The keys of variants contain this hash, so that other bytes never appear under an old URL. The order of the variants
    does not matter.
    """
    parts = sorted(map(str, specs))
    return hashlib.sha256(f"{RENDERING_RULES},{','.join(parts)}".encode()).hexdigest()[:8]
