"""The fixtures of the pipeline's tests, for the attempt loop."""

from tests.pipeline.conftest import dead_port, simulator

__all__ = ["dead_port", "simulator"]
