"""The vendors of MLS data APIs that the sandbox plays: the rules of each are a TOML file of this folder."""

import tomllib
from collections.abc import Collection
from pathlib import Path

from local.sandbox.vendors.rules import VendorRules

_FOLDER = Path(__file__).parent
NAMES = ("generic", "proptx", "mlsgrid", "trestle", "bridge", "spark", "ddf")
"""The names that `load` takes."""


def load(name: str, switches: Collection[str] = ()) -> VendorRules:
    """Return the rules of a vendor; each of `switches` replaces some of them by other behaviour that is also known.

    Raises ValueError if there is no such vendor or switch; the message lists those that exist.
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
    """Return the names of a vendor's switches."""
    return list(tomllib.loads((_FOLDER / f"{name}.toml").read_text("utf-8")).get("switches", {}))
