"""
Chaos: a seeded load through a real worker and a real RabbitMQ while both are
killed and Turn misbehaves, and an account of every message in the end.

``python -m tests.integration.chaos --help`` runs it by hand.
"""
