"""Quicker ways to the same answer, each proven before it is taken."""
