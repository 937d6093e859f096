"""How the local blob storage refuses: an error with the code and status of Azure."""

from __future__ import annotations

from xml.sax.saxutils import escape

from aiohttp import web


class BlobError(Exception):
    """A request the storage refuses, with the code and status of Azure."""

    def __init__(self, code: str, message: str, status: int) -> None:
        super().__init__(message)
        self.code = code
        self.status = status

    def response(self) -> web.Response:
        """The answer to the client."""
        content = f"<Error><Code>{self.code}</Code><Message>{escape(str(self))}</Message></Error>"
        text = f'<?xml version="1.0" encoding="utf-8"?>{content}'
        headers = {"x-ms-error-code": self.code}
        return web.Response(text=text, status=self.status, content_type="application/xml", headers=headers)
