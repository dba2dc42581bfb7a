"""What holds of principals, of what they come with, and of what can be granted to them."""
