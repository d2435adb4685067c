"""The domain: records and pure rules. Only the standard library is used; no I/O, no clock, no logging, no async."""
