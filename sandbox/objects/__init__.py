"""What billing is about: customers, cards, products, prices, coupons, taxes, portal, checkout.

One resource a module: its shape, its rules, its calls. No invoice is made here.
"""
