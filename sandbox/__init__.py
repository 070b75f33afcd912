"""A local stand-in for the Claude API: `python -m sandbox`.

A program of its own. It needs no key, spends no money, imports nothing of Sluice and is imported
by nothing; whoever wants it starts it as a process and talks HTTP to it.
"""
