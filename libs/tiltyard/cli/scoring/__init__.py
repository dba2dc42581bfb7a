"""Commands that ask the scoring service."""
