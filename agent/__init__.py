"""The daemon: socket API, CDMI client, engine, ledger, host seam, helper, command line."""
