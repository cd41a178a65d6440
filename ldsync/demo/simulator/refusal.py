"""How the API says no: one exception that carries the documented error body."""

import uuid

#: Documented `code` per status (launchdarkly-api contract 1.4). 413, 422 and 5xx have no documented
#: code; what is here is only a plausible one.
CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    409: "optimistic_locking_error",
    413: "request_too_large",
    422: "unprocessable_entity",
    429: "rate_limited",
    500: "internal_server_error",
    502: "bad_gateway",
    503: "service_unavailable",
    504: "gateway_timeout",
}

MESSAGES = {
    400: "Invalid request",
    401: "Invalid access token",
    403: "Access to the requested resource was denied",
    404: "Invalid resource identifier",
    405: "Method not allowed",
    409: "someone else changed this segment first",
    413: "Request body is too large",
    422: "Update description was not understood",
    429: "too many calls, slow down",
}


class Refusal(Exception):
    """A request the API refuses; nothing of it is applied.

    Attributes:
        status: HTTP status of the reply.
        code: Error class of the body.
        message: Human text of the body.
    """

    def __init__(self, status: int, message: str | None = None, code: str | None = None) -> None:
        self.status = status
        self.code = code or CODES.get(status, "error")
        self.message = message or MESSAGES.get(status, "The server failed")
        super().__init__(f"{status} {self.code}: {self.message}")

    def document(self) -> dict[str, str]:
        """The documented error body: code, message, and an id to quote to support."""
        return {"code": self.code, "message": self.message, "id": str(uuid.uuid4())}
