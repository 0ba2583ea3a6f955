"""How many examples the property tests of the domain try: 1,000 by default, as in CI.

HYPOTHESIS_PROFILE=quick tries 25, for mutation runs and for the impatient.
"""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "thorough", max_examples=1000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile(
    "quick", settings.get_profile("thorough"), max_examples=25, derandomize=True, database=None, print_blob=False
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "thorough"))
