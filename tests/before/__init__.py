"""Data of before: what older versions of the code wrote, and the way to save and to load it."""
