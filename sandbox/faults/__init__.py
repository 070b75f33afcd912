"""Misbehaviour on command: what a fault may be, when one is due, and what it does.

A request meets at most one fault of each layer: `world` (what it finds), `answer` (what it is
told), `content` (what stands in the answer), `delivery` (how the answer travels).
"""
