"""Workers killed, paused and lied to on purpose, and a checker that counts what came of it.

`python -m tests.torture` (`make torture`) makes small worlds: a database, a data directory and a
scope of a real sandbox each. Real workers are killed with SIGKILL at named points and at random
times; when a world has come to rest, its rows and files are held against the sandbox's ledger.
"""
