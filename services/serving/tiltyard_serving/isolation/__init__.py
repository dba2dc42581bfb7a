"""Models in processes of their own, each with the environment that it asks for.

    server ── decodes, enforces, merges, splits, encodes; keeps the process alive
      └── process of one model version   its environment's Python, and nothing of the server's but the light library

Both sides speak `codec` over a pair of connected Unix sockets without a name: nobody else can connect. A side
sees the end of its socket when the other one dies, however that happened.
"""
