"""How the roster changes: imported from files, or by members who join, move and leave.

Every change of a member happens under the lock of the organization, after a pure decision. What it
costs is done by `adjustments`.
"""
