"""A stand-in for Stripe's API: an HTTP server the official SDK and CLI talk to.

What is here answers as Stripe answers, or refuses loudly; nothing of the rest of the
project may be imported. State is in memory, in one process, behind one lock.

How the pieces meet, from the socket inwards:

- `http.server` speaks HTTP/1.1 and hands a `Request` to `Application.handle` (`http.app`),
  through the layers around it: the call log, faults, limits, idempotency keys.
- `http.app` finds the `Route`, checks the key, decodes the form (`http.forms`), validates
  parameters against the SDK's own parameter types (`http.params`), runs the handler inside one
  `World.unit`, and answers with JSON (`http.render`) or Stripe's error envelope (`http.errors`).
- Handlers get a `Context` and change objects only through `Store.put` / `Store.delete`. A unit
  that raises is undone; one that ends well is handed, as `Commit` of journal `Entry`s
  (before, after, event type), to every function in `World.listeners`: events and timers start
  there.
- `objects` are the resources that billing is about; `billing` is money, from pure arithmetic
  (`billing.proration`) to a charged invoice; `subscriptions` is how they begin, change and end.
- `clocks` is the time of an object (real, frozen, or its customer's test clock), and the work
  that becomes due by then. `webhooks` tells the outside. `control` is the sandbox's own doors.
- `api` puts all of it together.
"""
