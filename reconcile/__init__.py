"""What seats should be, and making Stripe agree.

Every trigger (a webhook, the night, a person's request) ends in `settling`, which reads the facts,
asks the pure `policy` for a decision and hands a change to `adjustments`: record the intent, call
Stripe once, record the outcome. `members` changes the roster, `nights` finds what no webhook told.
No flask, rq or redis in here; SQL only in `tables` and `store`; Stripe only in `stripe_api`.

The rooms know only those below them: nights, settling, members, adjustments, then `seeing` and
`facts` (what Stripe and the roster say now), `services`, `store`, `policy`.
"""
