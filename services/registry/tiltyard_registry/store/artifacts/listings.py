"""Long listings of a store, page by page."""

from collections.abc import AsyncIterator

from tiltyard.storage import Entry


async def in_pages(entries: AsyncIterator[Entry], size: int) -> AsyncIterator[list[Entry]]:
    """The entries, so many of them at once; the last page may be shorter, and is never empty."""
    page: list[Entry] = []
    async for entry in entries:
        page.append(entry)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
