"""The tests. Random ones try the same values each time."""

try:
    from hypothesis import settings
except ImportError:  # the tests that need it say so themselves
    pass
else:
    settings.register_profile("same each time", derandomize=True, deadline=None)
    settings.load_profile("same each time")
