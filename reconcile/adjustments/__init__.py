"""The money: one intended change of a subscription, from the quote to the checked invoice.

Decisions come in from the policy, Stripe is called once for each, and what it charged is written
to the ledger and compared. Nothing in here decides what the seats should be.
"""
