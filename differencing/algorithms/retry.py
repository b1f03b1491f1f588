"""Another method where one fails: what was tried, how it went, and the best of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from astrid_site.imaging.errors import AlgorithmError, Number
from differencing.algorithms.quality import is_better, is_mismatched
from differencing.algorithms.subtraction import Method, Subtraction

#: In the order in which they are tried. The third is close to the first, but free of its
#: expectation of what the kernel is: worth its time only where nothing else can be shown.
METHODS: tuple[Method, ...] = ("kernel", "zogy", "alard_lupton")


#: Two exposures have their own noise each; less than this share of it is left of one taken twice.
_LEAST_NOISE = 0.1
_ONE_FRAME = "both images hold the same noise: they are one image, or each holds the other"


@dataclass(frozen=True)
class _Try:
    """One method's difference, or the error in its place."""

    method: str
    made: Subtraction | None
    error: AlgorithmError | None

    @property
    def outcome(self) -> str:
        """The verdict in a word."""
        return "impossible" if self.made is None else self.made.quality

    @property
    def problem(self) -> str:
        """What speaks against it."""
        if self.made is None:
            return "" if self.error is None else self.error.message
        return "; ".join(self.made.quality_reasons) or "nothing"


def subtract_in_turn(make: Callable[[Method], Subtraction]) -> Subtraction:
    """Subtract by the first method, and by others where that is impossible or its result is poor.

    Parameters
    ----------
    make : callable
        Subtracts by one method; raises ``AlgorithmError`` where it cannot.

    Returns
    -------
    Subtraction
        The best difference. Where more than one method was tried, its ``method_reason`` says
        which, and what speaks against the others; so do the metrics ``n_tries`` and ``tries``.

    Raises
    ------
    AlgorithmError
        If no method can match the images; says why for each, and carries all their numbers.
    """
    tries: list[_Try] = []
    best: _Try | None = None
    for method in METHODS:
        if tries and not _is_worth_another(best, len(tries)):
            break
        tries.append(_attempt(make, method))
        best = _better(tries[-1], best)
    if best is None or best.made is None:
        raise _no_match(tries)
    made = best.made if len(tries) == 1 else _explained(best, tries)
    if _is_one_frame(made):
        made = replace(made, quality_reasons=(_ONE_FRAME, *made.quality_reasons))
    return made


def _attempt(make: Callable[[Method], Subtraction], method: Method) -> _Try:
    try:
        made = make(method)
    except AlgorithmError as error:
        return _Try(method, None, error)
    return _Try(made.method, made, None)


def _is_worth_another(best: _Try | None, n_tries: int) -> bool:
    """A second try for a poor match, a third only where there is still nothing to show."""
    if best is None or best.made is None:
        return True
    if _is_one_frame(best.made):
        return False
    return is_mismatched(best.made) if n_tries == 1 else best.made.quality == "fail"


def _is_one_frame(made: Subtraction) -> bool:
    width = made.metrics.get("pull_width_propagated")
    return isinstance(width, float) and width < _LEAST_NOISE


def _better(new: _Try, best: _Try | None) -> _Try | None:
    if new.made is None:
        return best
    if best is None or best.made is None:
        return new
    return new if is_better(new.made, best.made) else best


def _explained(best: _Try, tries: Sequence[_Try]) -> Subtraction:
    """The best difference, with what was tried beside it."""
    if best.made is None:
        msg = "best: has no difference"
        raise ValueError(msg)
    place = list(tries).index(best)
    said = [best.made.method_reason]
    for word, others in (("before", tries[:place]), ("after", tries[place + 1 :])):
        if others:
            told = ", ".join(f"{other.method} ({other.problem})" for other in others)
            said.append(f"tried {word}: {told}")
    metrics = best.made.metrics | {
        "n_tries": len(tries),
        "tries": ", ".join(f"{each.method} {each.outcome}" for each in tries),
    }
    return replace(best.made, method_reason="; ".join(said), metrics=metrics)


def _no_match(tries: Sequence[_Try]) -> AlgorithmError:
    numbers: dict[str, Number] = {}
    for each in reversed(tries):
        numbers |= {} if each.error is None else each.error.numbers
    told = "; ".join(f"{each.method}: {each.problem}" for each in tries)
    return AlgorithmError(f"no method can match the images: {told}", **numbers)
