"""The root helper: a socket in front of the host, and the record of what was created there."""
