"""`trueup doctor`: looks at everything this service leans on and says what to do about it.

Reads only, and writes that name objects which do not exist. Decides nothing about seats.
"""
