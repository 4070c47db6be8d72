"""The command `cdmi-attach`: standard library only, and quick to start."""
