"""The web console: pages for a browser and the JSON API, served beside the data path in the hub's loop.

`Web` is a part of the hub. What it is made of (starlette, uvicorn) is imported when something is first
served, so that a hub runs without.
"""

from .part import Web as Web

__all__ = ["Web"]
