"""The request and response language: what clients may send, and what they get back."""
