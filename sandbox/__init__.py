"""A stand-in for Stripe's API: an HTTP server the official SDK and CLI talk to.

What is here answers as Stripe answers, or refuses loudly; nothing of the rest of the
project may be imported. State is in memory, in one process, behind one lock.

How the pieces meet, from the socket inwards:

- `server` speaks HTTP/1.1 and hands a `Request` to `Application.handle` (`app`), through the
  layers it was given (`Layer`: a callable of request and next), such as faults and idempotency.
- `app` finds the `Route`, checks the key, decodes the form (`forms`), validates parameters
  against the SDK's own parameter types (`params`), runs the handler inside one `store.unit()`
  and answers with `render`ed JSON, or with Stripe's error envelope (`errors`).
- Handlers get a `Context` and change objects only through `Store.put` / `Store.delete`. A unit
  that raises is undone; one that ends well is handed, as `Commit` of journal `Entry`s
  (before, after, event type), to every function in `World.listeners`: events start there.
- `clock` is the time of an object (real, frozen, or its customer's test clock); what is due by
  then (`timers`) is worked off by `lifecycle`.
- Money: `proration` is pure arithmetic; `billing` turns it into invoice items and invoices.
"""
