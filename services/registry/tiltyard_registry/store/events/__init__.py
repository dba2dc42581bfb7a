"""What changed: written with the change, told to whoever waits."""
