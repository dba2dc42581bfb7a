"""Who there is, what they come with, and what was granted to whom."""
