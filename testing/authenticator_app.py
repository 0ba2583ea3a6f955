"""An authenticator app (TOTP, RFC 6238), in software: each of its codes is shown once."""

import asyncio
from typing import Final

import pyotp

from infra.clock import Clock, system_clock

STEP_S: Final = 30
SURE_S: Final = 20
"""So far into a step the code of the one before is shown: there are 10 s left, then, in which it is taken."""
POLL_S: Final = 0.1


class AuthenticatorApp:
    """Codes of one step to either side are taken (RFC 6238 §5.2), so three may be shown without waiting, mostly."""

    def __init__(self, secret: str, clock: Clock = system_clock) -> None:
        self._app = pyotp.TOTP(secret)
        self._clock = clock
        self._shown = 0

    async def code(self) -> str:
        """The next code that was not shown yet and is taken now."""
        step, into_s = divmod(self._clock().timestamp(), STEP_S)
        self._shown = max(self._shown + 1, int(step) - (into_s < SURE_S))
        while self._clock().timestamp() // STEP_S < self._shown - 1:
            await asyncio.sleep(POLL_S)
        return self._app.generate_otp(self._shown)
