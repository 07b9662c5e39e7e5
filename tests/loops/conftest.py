from tests.support.fixtures import begin, world

__all__ = ["begin", "world"]
