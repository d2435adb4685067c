"""Benchmarks. Each measures its baseline too, in the same run on the same machine."""
