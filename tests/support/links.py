"""Capture links for HTTP clients without a browser."""

import urllib.parse

FRAGMENT = "#/artifact="


def page_of(link: str) -> str:
    """The address that the script at the link's address leads to; http clients do not send a link's fragment."""
    address, found, token = link.partition(FRAGMENT)
    assert found, "this capture link does not have the vendor's shape"
    return urllib.parse.urljoin(address, token)
