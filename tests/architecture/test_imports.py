"""Imports point only downward: the table of docs/architecture.md, read from the source itself."""

import ast

import pytest

from tests.architecture.sources import imports, trees

LOWEST = ("rlrun.types", "rlrun.config", "rlrun.clock", "rlrun.conf_dir", "rlrun.functional")
MIDDLE = ("rlrun.nets", "rlrun.envs", "rlrun.logger", "rlrun.checkpoint", "rlrun.rundir")
DATA = ("rlrun.data", "rlrun.evaluate")
DRIVERS = ("rlrun.experiment", "rlrun.runner", "rlrun.async_runner", "rlrun.accel")
TOP = (
    *("rlrun.schema", "rlrun.build", "rlrun.compose", "rlrun.env_source", "rlrun.launch"),
    *(
        "rlrun.sweep",
        "rlrun.sweep_table",
        "rlrun.bench",
        "rlrun.inspection",
        "rlrun.replay",
        "rlrun.verbs",
        "rlrun.cli",
    ),
)
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "rlrun": (),
    **dict.fromkeys(LOWEST, LOWEST),
    **dict.fromkeys(MIDDLE, LOWEST),
    "rlrun.device": LOWEST,
    "rlrun.saved": (),
    "rlrun.plugins": LOWEST,
    "rlrun.video": LOWEST,
    "rlrun.data": (*LOWEST, "rlrun.envs.base"),
    "rlrun.evaluate": (*LOWEST, "rlrun.envs.base", "rlrun.data"),
    "rlrun.algos": (*LOWEST, "rlrun.nets", "rlrun.data"),
    **dict.fromkeys(DRIVERS, (*LOWEST, *MIDDLE, *DRIVERS, *DATA, "rlrun.algos.base")),
    **dict.fromkeys(TOP, ("rlrun",)),
}
"""From each unit of the package to what it may import besides itself."""

HYDRA_USERS = {"rlrun.compose", "rlrun.env_source", "rlrun.verbs.completion"}
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
UNSAFE_CALLS = {"eval", "exec", "torch.load", "torch.save", "np.load", "numpy.load", "yaml.load"}

KNOWN = set(trees())
GRAPH = {name: imports(tree, KNOWN) for name, tree in trees().items()}


def unit_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def within(module: str, units: tuple[str, ...]) -> bool:
    return any(module == unit or module.startswith(f"{unit}.") for unit in units)


@pytest.mark.parametrize("module", sorted(KNOWN))
def test_imports_point_downward(module):
    unit = unit_of(module)
    assert unit in MAY_IMPORT, f"{unit} is new: give it a row in MAY_IMPORT"
    allowed = (*MAY_IMPORT[unit], unit)
    own = {name for name in GRAPH[module] if name.startswith("rlrun.")}
    assert {name for name in own if not within(name, allowed)} == set()


def test_lowest_layer_imports_torch_gymnasium_and_the_standard_library_only():
    import sys

    allowed = {*sys.stdlib_module_names, "torch", "gymnasium", "rlrun"}
    for module in KNOWN:
        if within(module, LOWEST):
            assert {name.split(".")[0] for name in GRAPH[module]} <= allowed, module


def test_an_algorithm_imports_no_other_algorithm():
    algorithms = {name for name in KNOWN if name.startswith("rlrun.algos.")} - {"rlrun.algos.base"}
    assert "rlrun.algos.ppo" in algorithms
    for module in KNOWN - {"rlrun.schema"}:
        assert GRAPH[module] & algorithms == set(), f"{module} names a concrete algorithm"


def test_only_the_top_knows_hydra():
    hydra = {
        module
        for module in KNOWN
        if any(name.split(".")[0] in ("hydra", "omegaconf") for name in GRAPH[module])
    }
    assert {"rlrun.compose", "rlrun.env_source"} <= hydra <= HYDRA_USERS


def test_there_is_no_cycle():
    remaining = {module: GRAPH[module] & KNOWN - {module} for module in KNOWN}
    while remaining:
        leaves = {module for module, needed in remaining.items() if not needed & set(remaining)}
        assert leaves, f"these modules import each other: {sorted(remaining)}"
        remaining = {name: needed for name, needed in remaining.items() if name not in leaves}


@pytest.mark.parametrize("module", sorted(KNOWN))
def test_nothing_executes_data(module):
    tops = {name.split(".")[0] for name in GRAPH[module]}
    calls = {ast.unparse(n.func) for n in ast.walk(trees()[module]) if isinstance(n, ast.Call)}
    assert tops & UNSAFE_MODULES == set()
    assert calls & UNSAFE_CALLS == set()
