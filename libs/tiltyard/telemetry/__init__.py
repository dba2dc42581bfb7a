"""What both services tell of themselves: their log lines, for programs and for people."""
