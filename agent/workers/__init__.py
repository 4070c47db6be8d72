"""Expendable processes for whatever may sleep in the kernel."""
