"""Past one machine: batches by Ray Data, the service by Ray Serve. It knows the service, and the service nothing of it.

Ray reads this variable when it starts; without it, it would report how it is used to its makers.
"""

import os

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
