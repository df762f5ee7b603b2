"""The settings' defaults, under the name that older files of settings import."""

from qup.pipelines.defaults import get_config, read_literally, shrink

__all__ = ["get_config", "read_literally", "shrink"]
