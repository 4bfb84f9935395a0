"""Tells operators of what they should know, by webhooks: signed, repeated, and bounded."""
