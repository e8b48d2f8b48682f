"""Functions of tensors as machine code, called without being asked anything first.

`torch.compile` looks at every call whether all that it saw when compiling is still so, which on
small networks takes longer than the code itself. Here a function is written down once and compiled
ahead of time. Tensors that it reaches by other ways than its arguments, such as parameters, stay
themselves: they are handed over at each call, so writing into them is seen. All else, flags and
numbers among it, is taken as it was at the first call, so this is for functions that are known to
depend on tensors alone.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlrun.accel.programs import Backend, Run
from rlrun.accel.script import Script, identity, trace, tree_flatten
from rlrun.types import Transform


def eager(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function as it is."""
    return function


class Ahead:
    """Stands for a function of nested tuples and mappings of tensors, which returns such ones.

    It may write into tensors that it reaches, as long as it reaches no other view of the same
    memory. Its results are new tensors at each call. Gradients do not pass through. Arguments of
    another shape than the first go the way `otherwise`, and so does everything once the function
    is found to do something else than was written down, which is looked at in calls 10, 100, 1000
    and so on. What cannot be compiled is called as it is. `say` is told of all this.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        backend: Backend,
        options: dict[str, Any],
        otherwise: Transform = eager,
        say: Callable[[str], None] = print,
    ) -> None:
        self._function, self._backend, self._options = function, backend, options
        self._otherwise, self._say = otherwise, say
        self._other: Callable[..., Any] | None = None
        self._script: Script | None = None
        self._made_inside: list[bool] = []
        self._run: Run | None = None
        self._key: Any = None
        self._calls, self._next_look = 0, 10

    def __call__(self, *values: Any) -> Any:
        """Compute the function, compiling it first."""
        if self._other is not None and self._run is None:
            return self._other(*values)
        given: list[Tensor] = []
        others: list[Any] = []
        tree_flatten(values, given, others)
        given = [leaf.contiguous() for leaf in given]  # the code knows one layout
        key = ([(leaf.shape, leaf.dtype) for leaf in given], others)
        if self._key is None:
            self._key = key
            self._compile(values, given)
        self._calls += 1
        if self._calls == self._next_look:
            self._next_look *= 10
            self._look(values, given)
        if self._run is None or self._script is None or key != self._key:
            if self._other is None:
                self._go("sizes change from call to call", self._otherwise)
            assert self._other is not None
            return self._other(*values)
        outcome = self._run(given + self._script.reached)
        return self._script.make(iter(outcome))

    def _compile(self, values: tuple[Any, ...], given: list[Tensor]) -> None:
        try:
            script, again = (trace(self._function, values, given) for _ in range(2))
            pairs = zip(script.reached, again.reached, strict=False)
            self._made_inside = [identity(one) != identity(other) for one, other in pairs]
            self._script = script
            if not self._true(again):
                return self._go("it is another at each call", self._otherwise)
            if not all(each.is_contiguous() for each in script.reached):
                return self._go("it uses tensors with gaps", self._otherwise)
            copies = tuple(each.clone() for each in script.reached)
            with torch.inference_mode(False), torch.no_grad():
                self._run = self._backend(script.graph, (*script.examples, *copies), self._options)
        except Exception as fault:  # whatever a compiler says, it must not end a run
            reason = (str(fault).strip().splitlines() or [""])[0]
            self._go(f"no code was made ({type(fault).__name__}: {reason})", eager)

    def _look(self, values: tuple[Any, ...], given: list[Tensor]) -> None:
        if self._run is not None and not self._true(trace(self._function, values, given)):
            self._run = None
            self._go("a number changes inside", self._otherwise)

    def _true(self, now: Script) -> bool:
        """Say whether what was written down is what is done now, with the same tensors."""
        script = self._script
        assert script is not None
        if script.graph.code != now.graph.code or len(script.reached) != len(now.reached):
            return False
        return all(
            torch.equal(one, other) if inside else identity(one) == identity(other)
            for one, other, inside in zip(
                script.reached, now.reached, self._made_inside, strict=True
            )
        )

    def _go(self, reason: str, way: Transform) -> None:
        self._other = way(self._function)
        how = "called as it is" if way is eager else "compiled with a look at every call"
        self._say(f"accel   {reason}: a function is {how}")
