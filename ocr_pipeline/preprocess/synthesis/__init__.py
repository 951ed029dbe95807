"""Labelled lines and pages of invented documents, for training where no pictures can be had."""

from ocr_pipeline.preprocess.synthesis.build import Synthesised, synthesise

__all__ = ["Synthesised", "synthesise"]
