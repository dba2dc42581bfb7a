"""Doors of one visit: one statement of PostgreSQL, or one transaction of SQLite in one go.

They have the arguments and the rules of the doors of their names. Only what goes well is done here. What finds
anything amiss changes nothing and answers with nothing; then the ordinary door does the work step by step, and says
what is wrong.
"""
