"""Numbers about the running gateway, for Prometheus.

Nothing here may slow down or fail a request: records are looked at after they are written, in the
background. Labels are bounded, and never hold a key or anything else that a caller chooses.
"""
