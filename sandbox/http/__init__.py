"""From a socket to a handler and back: HTTP, forms, parameters, lists, expansion, errors.

Nothing here knows what a subscription is.
"""
