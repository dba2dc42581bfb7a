"""The protocol's messages as msgspec Structs, one module per noun; no behaviour.

Requests: a required text has `Text` (empty counts as missing), an optional field has a default.
Replies: a field that every row has is given no default, so that a row without it fails loudly.
"""
