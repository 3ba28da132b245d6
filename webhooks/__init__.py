"""The public door: Stripe's only way in.

It verifies the raw bytes, stores the event durably, answers. It decides nothing about seats, calls
neither Stripe nor the queue on the way, and holds no page and no command for people.
"""
