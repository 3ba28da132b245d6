"""What leaves for people: notices to the host application, and reviews that wait for a person.

A notice is a row in the transaction of what it tells of; sending it is work like any other.
"""
