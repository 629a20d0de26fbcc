from __future__ import annotations

import subprocess
import sys


def test_a_guarded_process_loads_no_pickle_that_names_code() -> None:
    program = """
import pickle
from skyward.system.guard import forbid_unpickling
harmful = pickle.dumps(print)
forbid_unpickling()
assert pickle.loads(pickle.dumps([1, 2])) == [1, 2]
try:
    pickle.loads(harmful)
except RuntimeError as error:
    print(error)
"""

    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert answer.stdout == "the operator never unpickles\n"
