"""What OpenNebula's scripts of the `cdmi` drivers do: standard library only, Python 3.9 or later."""
