"""Reads property records from the RESO Web API of a feed's MLS, authorised, within limits, and in its dialect."""
