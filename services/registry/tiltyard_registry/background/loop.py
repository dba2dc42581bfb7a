"""A piece of work that is done again and again beside the requests."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

TASK_NAME = "background"
"""What the names of the tasks begin with."""

log = logging.getLogger(__name__)


class Loop:
    """Calls `step` until it is stopped, and waits in between for as many seconds as that says.

    A step that fails is told in the log, and called again after `try_again_s` seconds.
    """

    def __init__(
        self,
        step: Callable[[], Awaitable[float | None]],
        purpose: str,
        *,
        try_again_s: float,
        wake: asyncio.Event | None = None,
    ) -> None:
        """`wake`, once set, ends a wait; where a step says None, nothing else does."""
        self._step = step
        self._purpose = purpose
        self._try_again_s = try_again_s
        self._wake = wake or asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins with the first step."""
        self._task = asyncio.create_task(self._run(), name=f"{TASK_NAME}: {self._purpose}")

    async def stop(self) -> None:
        """Stops at once, in the middle of a step too."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            # Before the step, which may miss what comes while it works.
            self._wake.clear()
            try:
                delay_s = await self._step()
            except Exception as error:
                log.warning("cannot %s, trying again later", self._purpose, exc_info=error)
                delay_s = self._try_again_s
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._wake.wait()
