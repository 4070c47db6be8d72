"""The CDMI client: from a source to an object, its exports, and this host's place in their permissions."""
