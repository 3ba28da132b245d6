"""The JSON API for the host application's backend: members, seats, contracts, repairs.

A door, not a room to decide in: a view reads the request, calls one function of `reconcile`, and
says what came of it. The frame around the views is the same for all of them: tokens and scopes,
`Idempotency-Key`, problem+json, the document. What is here never talks to Stripe or SQL itself.
"""
