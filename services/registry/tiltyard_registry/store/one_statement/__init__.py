"""Doors that are one statement: the same arguments and the same rules as the doors of their names, in one round trip.

Only what goes well is done here. What finds anything amiss changes nothing and answers with nothing; then the
ordinary door does the work step by step, and says what is wrong.
"""
