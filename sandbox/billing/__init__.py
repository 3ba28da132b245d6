"""Money: proration arithmetic, invoice items, invoices, previews, charging.

`proration` and `wording` are pure. How a subscription changes is decided in `subscriptions`.
"""
