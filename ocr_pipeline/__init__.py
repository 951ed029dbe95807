"""Fine-tune PP-OCR on your own pictures and serve it: prepare -> train -> export -> serve."""

__version__ = "0.3.0"
