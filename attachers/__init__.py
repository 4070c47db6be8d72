"""What a host must look like for each protocol, decided from what was seen: pure functions, no input or output."""
