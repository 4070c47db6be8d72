"""Hosts: the real one, a model of it, the record of what was created, and the socket to the helper."""
