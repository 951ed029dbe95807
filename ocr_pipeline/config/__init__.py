"""Configuration: frozen pydantic models, YAML files, ``a.b=value`` overrides."""

from ocr_pipeline.config.base import Config, dump_config, load_config

__all__ = ["Config", "dump_config", "load_config"]
