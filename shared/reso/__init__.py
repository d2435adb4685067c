"""Reads property records from the RESO Web API of a feed's MLS: with a token, within limits, in the MLS's dialect."""
