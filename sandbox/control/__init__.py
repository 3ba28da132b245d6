"""The doors under `/_sandbox/`: faults, limits, seeding, reset. Nothing here is Stripe's."""
