"""Web pages that may send images: cross-origin resource sharing (CORS), as https://fetch.spec.whatwg.org defines it.

A browser names the origin of a page (scheme, host and port) in each request that the page makes. Before a POST it asks
with OPTIONS whether pages of this origin may send it (preflight). Other programs send no origin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...Model.Errors import RequestError, SettingsError
from ...Model.Text import textsOf

if TYPE_CHECKING:
    from .Request import Head

_ = textsOf(__file__)

PREFLIGHT_AGE = 600
"""Seconds for which a browser may keep the answer to a preflight."""

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?/?")
"""Browsers send other letters of a host as xn--..., and no placeholders."""
_USUAL_PORTS = {"http": "80", "https": "443"}


def originOf(text: str) -> str:
    """Return an origin as browsers send it, for example "https://lab.example.org" for "HTTPS://lab.example.org:443/".

    :raises SettingsError: the text is no origin.
    """
    found = _ORIGIN.fullmatch(text.strip().lower())
    if not found or int(found[3] or 0) > 65535:
        reason = _("{origin} is no origin of web pages, such as http://localhost:3000 or https://lab.example.org.")
        raise SettingsError(reason.format(origin=repr(text)))
    scheme, host, port = found.groups()
    return f"{scheme}://{host}" + (f":{port}" if port not in (None, _USUAL_PORTS.get(scheme)) else "")


class Origins:
    """Origins of the web pages that may send images.

    :param allowed: origins as browsers send them; empty: no web pages.
    :param names: header fields that pages may send.
    """

    def __init__(self, allowed: Sequence[str], names: Sequence[str]) -> None:
        self._allowed, self._names = frozenset(allowed), ", ".join(names)

    def check(self, head: Head) -> None:
        """Raise RequestError (403) for a request of a web page that is not allowed."""
        origin = head.headers.get("origin")
        if origin == "null":
            # A page from a file, or in a sandbox: "null" would allow all of them, so no setting does.
            raise RequestError(403, _("Web pages of null may not send images: open the page from a web server."))
        if origin is not None and origin not in self._allowed:
            reason = _('Web pages of {origin} may not send images: add this address to "Allowed web pages".')
            raise RequestError(403, reason.format(origin=origin[:100]))

    def isPreflight(self, head: Head) -> bool:
        """Return True for the question of a browser whether a page may send a request."""
        return head.method == "OPTIONS" and {"origin", "access-control-request-method"} <= set(head.headers)

    def headers(self, head: Head) -> dict[str, str]:
        """Return the header fields of an answer with which a browser shows it to a page; empty unless allowed."""
        origin = head.headers.get("origin", "")
        if origin not in self._allowed:
            return {}
        headers = {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
            "Vary": "Origin",
        }
        if self.isPreflight(head):
            headers["Access-Control-Allow-Methods"] = "POST, GET"
            headers["Access-Control-Allow-Headers"] = self._names
            headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE)
        return headers
