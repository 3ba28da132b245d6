"""What seats should be, and making Stripe agree.

Every trigger (a webhook, the nightly run, a person's request) ends in `settle.settle`, which reads
the facts, asks the pure `policy` for a decision, records the intent, calls Stripe once and records
the outcome. No flask, rq or redis in here; SQL only in `tables` and `store`; Stripe only in
`stripe_api`.
"""
