"""A sandbox MLS on this machine: listings, photos, a RESO Web API, and wrong answers for tests."""

from local.sandbox.album import NoPictures
from local.sandbox.faults import Fault
from local.sandbox.picture_host import ImageRequest
from local.sandbox.server import Sandbox

__all__ = ["Fault", "ImageRequest", "NoPictures", "Sandbox"]
