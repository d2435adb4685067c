"""The events on the topics: CloudEvents, as Pydantic models."""
