"""What runs in the lab guest, on its own Python and nothing else (and os-brick, for the peer)."""
