"""How patient tests are: what a busy machine does late is no failure, so waits that only a failure ends are long.

Speed is measured in `bench/`.
"""

from typing import Final

#: How much later than its deadline a call may end, however busy the machine is.
BUSY_SECONDS: Final = 10.0
