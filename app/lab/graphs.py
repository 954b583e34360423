"""The graphs that the lab computes with, of one worker."""

from typing import NamedTuple

from app.lab.demo import Demos
from app.lab.descent import Graphs
from app.lab.kmeans import Lloyd


class LabGraphs(NamedTuple):
    lloyd: Lloyd  # a round of k-means
    demos: Demos  # of gradients; opened when they are first asked for
    descent: Graphs  # problems and optimisers; likewise
