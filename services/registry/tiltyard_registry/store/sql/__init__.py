"""Sessions, and SQL that both databases understand."""
