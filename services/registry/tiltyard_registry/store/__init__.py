"""The doors: async functions of (session, who, plain values) that check permission, apply the rule, run SQL
and write the event. Anything that changes the registry goes through one of them.
"""
