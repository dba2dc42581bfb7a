"""Is this input what the signature says?"""
