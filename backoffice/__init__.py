"""People's doors: the `trueup` command, and what runs, checks and shows the service on a machine.

May import everything else; nothing imports it. What faces the internet is not in here.
"""
