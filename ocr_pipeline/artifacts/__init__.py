"""Typed hand-overs between stages: a folder with a card (JSON) that names and hashes its files."""
