"""Dumps of what older versions of the code stored, and the programs that save and load them."""
