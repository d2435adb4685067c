"""Which renderings of a photo do we hold? The variants setting, checked, and the hash that URLs carry of it."""

import hashlib
import re
from dataclasses import dataclass
from types import MappingProxyType

RENDERING_RULES = 2
"""Version of the rules that turn a photo into its variants: raised whenever the same photo would give other bytes."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format that variants are written in; `longest_side` in pixels is what the format can hold."""

    extension: str
    content_type: str
    longest_side: int


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
    """One rendering to make: at most `width` pixels wide, in a format of `FORMATS`, quality 1 to 100."""

    name: str
    width: int
    format: str
    quality: int

    def __str__(self) -> str:
        """Write it as in the setting."""
        return f"{self.name}={self.width}:{self.format}:{self.quality}"

    @property
    def extension(self) -> str:
        """The end of the file's name, without a dot."""
        return FORMATS[self.format].extension

    @property
    def content_type(self) -> str:
        """What the file is served as."""
        return FORMATS[self.format].content_type


def parse_variants(setting: str) -> tuple[VariantSpec, ...]:
    """Read a variants setting such as `thumb=320:webp:75,full=1600:webp:80`; widest first.

    Raises ValueError that names every fault.
    """
    specs: list[VariantSpec] = []
    faults: list[str] = []
    for text in filter(None, (part.strip() for part in setting.split(","))):
        try:
            specs.append(_parse_one(text))
        except ValueError as fault:
            faults.append(str(fault))
    names = [spec.name for spec in specs]
    faults += [f"the variant {name!r} is given twice" for name in sorted({n for n in names if names.count(n) > 1})]
    if not faults and "full" not in names:
        faults.append("a variant named 'full' is required: it is the one that an image's own url opens")
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(sorted(specs, key=lambda spec: (-spec.width, spec.name)))


def _parse_one(text: str) -> VariantSpec:
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


def _whole_number(text: str, what: str, value: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", value) or not least <= int(value) <= most:
        raise ValueError(f"{text!r}: the {what} must be a whole number from {least} to {most}")
    return int(value)


def rendering(specs: tuple[VariantSpec, ...]) -> str:
    """Return 8 hex digits of the variants and the rendering rules; the order of the variants does not matter."""
    parts = sorted(map(str, specs))
    return hashlib.sha256(f"{RENDERING_RULES},{','.join(parts)}".encode()).hexdigest()[:8]
