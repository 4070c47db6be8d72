"""Putting the drivers into an OpenNebula front-end and its hosts, and taking them out again: standard library only."""
