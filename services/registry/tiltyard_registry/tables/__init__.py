"""The rows: every table of the registry, its columns named as the wire names them.

Times are integer milliseconds since the epoch. A row outside this module is a mapping of these names
(plus the lists that hang on it: `tags`, `aliases`, ...), from which the wire Structs are converted.

Registered models, versions and runs are keyed by small internal integers, so that a rename touches one row.
Experiment ids, run ids and logged-model ids are what the wire shows.
"""
