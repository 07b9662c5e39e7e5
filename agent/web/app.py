"""The application of LISTEN, put together from its parts."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from agent.web.api import nothing_here


def application(routes: Sequence[BaseRoute]) -> Starlette:
    """These routes and nothing else: what is not there is not found, and nobody is sent anywhere."""
    app = Starlette(routes=routes, exception_handlers={404: nothing_here})
    app.router.redirect_slashes = False  # a redirect would repeat whatever name the sender gave us
    return app
