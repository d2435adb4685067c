"""The vendors of MLS data APIs that the sandbox plays: the rules of each are a TOML file of this folder."""

import tomllib
from collections.abc import Collection
from pathlib import Path

from local.sandbox.vendors.rules import VendorRules

_FOLDER = Path(__file__).parent
NAMES = ("generic", "proptx", "mlsgrid", "trestle", "bridge", "spark", "ddf")
"""The names that `load` takes."""


def load(name: str, switches: Collection[str] = ()) -> VendorRules:
    """Return the rules of the vendor `name`. Each of `switches` replaces some rules by another known behaviour.

    Raises ValueError if there is no such vendor, or the vendor has no such switch. The message lists the existing ones.
    """
    if name not in NAMES:
        raise ValueError(f"there is no vendor {name}; there are {', '.join(NAMES)}")
    document = tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8"))
    available = document.pop("switches", {})
    for switch in switches:
        if switch not in available:
            raise ValueError(f"{name} has no switch {switch}; it has {', '.join(available) or 'none'}")
        for section, replaced in available[switch].items():
            is_list = isinstance(replaced, list)
            document[section] = replaced if is_list else document.get(section, {}) | replaced
    return VendorRules.model_validate({"name": name, **document})


def switches_of(name: str) -> list[str]:
    """Return the names of the vendor's switches: what `load` accepts as `switches` for this vendor."""
    return list(tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8")).get("switches", {}))
