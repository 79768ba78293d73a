"""Workers that are broken on purpose, each in one way: `python -m chaos campaign --replace WORKER=COMMAND` must fail.

Not for the pleasure of it: a campaign that is content with one of these is content with anything.
"""
