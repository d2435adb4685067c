"""A sandbox MLS: listings, photos, a RESO Web API and everything that can go wrong with them, on this machine only."""

from local.sandbox.album import NoPictures
from local.sandbox.server import ImageRequest, Sandbox
from local.sandbox.trouble import Trouble

__all__ = ["ImageRequest", "NoPictures", "Sandbox", "Trouble"]
