"""Subscriptions: how they begin, change, stand, renew, follow a schedule, and end."""
