"""Where every trigger ends: claim what is due, read the facts, ask the policy, make Stripe agree.

No rule lives in here (`policy` has them), and no amount (`adjustments` has those).
"""
