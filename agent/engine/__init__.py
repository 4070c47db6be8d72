"""The engine: keeps what is wanted, and brings the host to it, one observed step after the other."""
