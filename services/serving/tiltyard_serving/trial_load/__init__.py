"""Loads in processes of their own, before the server's own process loads what may end the process that reads it.

Only the scoring service does that: it answers for many models and callers, and a version that somebody registers must
not end what is running. A notebook and the workers of a Spark job load what their own user names; when that ends
their process, nothing of others is lost.
"""
