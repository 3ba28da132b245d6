"""What on-call does: find one thing among many, tell its story, repair it, hold things back.

The same functions are behind the `trueup` command and the API. Repairs go through the inbox like
any other work; nothing in here writes to Stripe by itself.
"""
