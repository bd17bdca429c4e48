# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end cases stand on, under one name."""
from base import *  # noqa: F401,F403
from clients import *  # noqa: F401,F403
from otlp import *  # noqa: F401,F403
from process import *  # noqa: F401,F403
from servers import *  # noqa: F401,F403
