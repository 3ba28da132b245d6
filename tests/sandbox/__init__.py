"""The stand-in for Stripe, held to recorded facts."""
