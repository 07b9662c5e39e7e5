"""The request that is measured."""

from verification.builders.request_files import upload

FRONT = "images/front.jpg"  # below the folder of the agent
_REQUEST = upload("NAME", {"front": "front.jpg"})


def request(name: str) -> str:
    """The request file of this name. It is replaced in a text, because YAML is slow to write."""
    return _REQUEST.replace("NAME", name)
