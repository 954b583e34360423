"""k-means on a caller's points, as work of the lab."""

from app.computation import Work
from app.lab.fit_answer import answer
from app.lab.fit_request import Asked, read_fit
from app.lab.kmeans import Lloyd

FIT = "cluster/fit"


def fit_by(lloyd: Lloyd) -> Work[Asked]:
    return Work(FIT, read_fit, lambda asked, go_on: answer(asked, lloyd, go_on))
