"""Anthropic's Messages API as a language that clients speak to us; any endpoint may answer."""
