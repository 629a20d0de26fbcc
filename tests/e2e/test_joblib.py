"""scikit-learn on a real pool: two nodes, each with an environment of its own."""

from __future__ import annotations

import pytest

import skyward as sky
from hack.operator_process import OperatorProcess
from tests.e2e.pools import manifest

pytestmark = pytest.mark.ci


def test_a_grid_search_on_a_pool_gives_what_it_gives_here(operator: OperatorProcess, session: sky.Session) -> None:
    import joblib
    import numpy
    import sklearn
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    pins = [f"{package.__name__}=={package.__version__}" for package in (joblib, numpy)]
    pip = ", ".join([*pins, f"scikit-learn=={sklearn.__version__}"])
    operator.save("hello.yaml", manifest(nodes=2, image=f"{{pip: [{pip}]}}"))
    operator.wait_ready("hello", 2, 300)
    x, y = load_iris(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "kernel": ["linear", "rbf"]}

    here = GridSearchCV(SVC(), grid, n_jobs=1).fit(x, y)
    with sky.integrations.joblib.backend(session.pool("hello")):
        there = GridSearchCV(SVC(), grid, n_jobs=-1).fit(x, y)

    assert there.best_params_ == here.best_params_
    assert there.best_score_ == here.best_score_
    assert list(there.cv_results_["mean_test_score"]) == list(here.cv_results_["mean_test_score"])
    assert operator.objects.list("tasks", "default")["items"], "it ran on the pool"
