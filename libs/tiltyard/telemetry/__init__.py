"""What both services tell of themselves: the shape of their log lines."""
