"""The sandbox gateway: a payment gateway of our own, a separate process with its own store.

It stands where a real gateway would stand, so that our record and its can be compared after any fault. Nothing in
here is imported by the adapter (gateway_adapters/sandbox/adapter.py): the two meet over HTTP only.
"""
