"""Measurements against other code: each side in its own process, strictly in turn."""
