"""The first predictions of a version, and what they prove, before it takes traffic."""
