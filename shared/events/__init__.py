"""What is said on the topics: CloudEvents, read and written at the edge of every service."""
