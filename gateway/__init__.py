"""The gateway: one request in, the best endpoint out, every attempt accounted for."""
