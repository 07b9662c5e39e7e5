from tests.support.fixtures import begin, folder, world

__all__ = ["begin", "folder", "world"]
