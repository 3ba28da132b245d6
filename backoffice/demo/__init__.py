"""`trueup demo`: the whole service on this machine, played as a story and checked at the end.

Real processes, real servers, signed HTTP, the sandbox in Stripe's place. A chapter a module; a
chapter plays people (a buyer, a member, somebody in Stripe's dashboard) and accidents, and says
what it expects. Nothing of the service may be imported to be bent: the demo has the same doors as
everybody (the API with a token, Stripe's API, the commands), and reads the tables only to show and
to check them.
"""
