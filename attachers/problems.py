"""The one exception of the project: a code that callers may rely on, a sentence, and the remedy (RFC 9457)."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """The stable codes of `problem+json` answers."""

    BAD_REQUEST = "bad-request"
    TOO_LARGE = "too-large"
    INVALID_REQUEST = "invalid-request"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not-found"
    CONFLICT = "conflict"
    BUSY = "busy"
    IN_USE = "in-use"
    STALE = "stale"
    NO_USABLE_EXPORT = "no-usable-export"
    UNSUPPORTED_ON_HOST = "unsupported-on-host"
    CDMI_UNREACHABLE = "cdmi-unreachable"
    CDMI_REFUSED = "cdmi-refused"
    TARGET_REFUSED = "target-refused"
    TARGET_TIMEOUT = "target-timeout"
    DEVICE_TIMEOUT = "device-timeout"
    WRONG_DEVICE = "wrong-device"
    DIRTY = "dirty"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


STATUS: dict[Code, int] = {
    Code.BAD_REQUEST: 400,
    Code.TOO_LARGE: 413,
    Code.INVALID_REQUEST: 422,
    Code.FORBIDDEN: 403,
    Code.NOT_FOUND: 404,
    Code.CONFLICT: 409,
    Code.BUSY: 409,
    Code.IN_USE: 409,
    Code.STALE: 409,
    Code.NO_USABLE_EXPORT: 422,
    Code.UNSUPPORTED_ON_HOST: 501,
    Code.CDMI_UNREACHABLE: 502,
    Code.CDMI_REFUSED: 502,
    Code.TARGET_REFUSED: 502,
    Code.TARGET_TIMEOUT: 504,
    Code.DEVICE_TIMEOUT: 504,
    Code.WRONG_DEVICE: 502,
    Code.DIRTY: 500,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}


REMEDY_OF_DIRTY = "see the kernel's log; once the loss is known: cdmi-attach detach NAME --force"


class Problem(Exception):
    """Something that the caller has to know: what is wrong, and what to do about it.

    `detail` says what happened in one sentence, `hint` names the remedy, `step` is the `describe()` of the
    step that failed, `status` overrides the code's usual HTTP status. `final`: it would be the same at another portal,
    and trying there does harm.
    """

    def __init__(
        self,
        code: Code,
        detail: str,
        *,
        hint: str = "",
        step: str = "",
        status: int | None = None,
        final: bool = False,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.hint = hint
        self.step = step
        self.final = final
        self.status = status if status is not None else STATUS[code]

    def and_also(self, texts: Sequence[str]) -> "Problem":
        """The same problem, and what else is the matter."""
        detail = "; ".join([self.detail, *texts])
        return Problem(self.code, detail, hint=self.hint, step=self.step, status=self.status, final=self.final)

    def as_dict(self) -> dict[str, Any]:
        """The problem as the members of a `problem+json` object."""
        return {
            "type": f"urn:cdmi-attach:problem:{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.status,
            "code": str(self.code),
            "detail": self.detail,
            "hint": self.hint,
            "step": self.step,
        }
