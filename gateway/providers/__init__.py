"""Our chat shape <-> wire protocols. Adapters never do I/O: they build requests and read bytes."""
