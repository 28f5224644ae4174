"""Torture: faults on every source at once, and a ledger that must balance.  python3 run.py torture

A seed makes the plan (Plan.py): rounds with sources, the steps of their senders, and disturbances of the processes and
the disk. The senders (Senders.py) are a process of their own. Rounds.py runs the real logic in the test host, and
Ledger.py compares what was sent with what was stored, shown and reported.
"""
