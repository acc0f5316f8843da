"""The failures queue: published to, read, replayed and dropped."""
