"""The commands of operators: they ask the management API of a cluster's dispatchers, ours or Arvados's.

Nothing is decided here. A command works from any host that reaches a dispatcher and has the token.
"""
