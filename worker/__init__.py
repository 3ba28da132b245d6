"""RQ: a relay that hints what is due, workers that work it off, a schedule for the nights.

No rule and no SQL in here: the inbox's rows are the truth, `reconcile` decides and writes. Only
`queues` and `process` import rq. Nothing here answers the internet.
"""
