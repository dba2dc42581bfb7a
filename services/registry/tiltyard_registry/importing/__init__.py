"""Moving in: the database and the artifacts of an MLflow server, copied row by row and verified.

    source    the MLflow server's database, one snapshot of it, read in streams
    copies    what is copied: which tables there are, rows below their owners, versions, files
    fitting   whether their values fit into our columns, before anything is written
    places    which rows lead to files that our artifact root does not hold
    job       the order of it all

Ids, version numbers and times are kept. Nothing but the rows themselves says how far an import came: a row that
is there already is written again with the same values, so an import that was killed is simply started again.
"""
