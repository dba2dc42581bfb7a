"""Work that ends before its cancelled caller goes on."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def uninterrupted(work: Awaitable[T]) -> T:
    """What `work` gives. A caller that is cancelled meanwhile is cancelled when the work is done.

    A thread or a request under way cannot be taken back. Without this it would end after its caller has given
    up the lock under which it was begun.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            await asyncio.wait([task])
        if not task.cancelled():
            # Taken note of; the cancellation is what the caller hears of.
            task.exception()
        raise
