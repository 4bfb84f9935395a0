"""Which endpoints may serve a request, in which order, and why not the others.

Pure: no clock, no chance of its own; both come in as values.
"""
