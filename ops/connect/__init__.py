"""Connects a feed: asks an MLS's API what it can do, and writes the feed's table of feeds.toml."""
