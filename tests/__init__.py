"""What proves it. The asserts of `testing` explain themselves as those of the tests do."""

import pytest

pytest.register_assert_rewrite("testing")
