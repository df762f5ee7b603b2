"""The defaults of all settings, for files of settings that import them from here."""

from qup.pipelines.defaults import get_config, read_literally, shrink

__all__ = ["get_config", "read_literally", "shrink"]
