"""Requests to the RESO Web API of a feed's MLS: authorised, and within the API's limits."""
