"""What a person gives an engine, checked and as arrays: arrivals, items, levels, service times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perfkit.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


def arrivals(arrival_s: ArrayLike) -> NDArray[np.float64]:
    """Return arrival times in seconds; refuse what is no time, is negative or goes back."""
    times = _vector("arrival_s", arrival_s, np.float64)
    _all(times, np.isfinite(times) & (times >= 0), "arrival", "expected seconds, 0 or more")
    if len(times) > 1:
        _all(times[1:], np.diff(times) >= 0, "arrival", "comes before the one before it")
    return times


def service(service_s: ArrayLike, max_batch: int) -> NDArray[np.float64]:
    """Return the table of service times in seconds, of batches of 0 to ``max_batch`` items."""
    table = _vector("service_s", service_s, np.float64)
    if len(table) != max_batch + 1:
        raise UsageError(
            f"service_s has {len(table)} times: expected {max_batch + 1}, for batches of 0 (unused)"
            f" to {max_batch} items"
        )
    right = np.isfinite(table) & (table > 0)
    right[0] = True
    _all(table, right, "service time", "expected seconds over 0")
    return table


def sizes(given: ArrayLike | None, number: int) -> NDArray[np.int64]:
    """Return the items of each request, one each where nothing is given."""
    if given is None:
        return np.ones(number, np.int64)
    items = _whole("sizes", given, number)
    _all(items, items >= 1, "size", "expected one item or more")
    return items


def levels(given: ArrayLike | None, number: int, most: int) -> NDArray[np.int64]:
    """Return each request's priority level counted from 0, of ``most`` levels (0: there is one)."""
    if given is None:
        if most > 1:
            raise UsageError(f"no priorities for a policy of {most} levels: expected one a request")
        return np.zeros(number, np.int64)
    if not most:
        raise UsageError("priorities for a policy without levels: expected none")
    found = _whole("priorities", given, number)
    _all(found, (found >= 1) & (found <= most), "priority", f"expected a level from 1 to {most}")
    return found - 1


def _whole(name: str, given: ArrayLike, number: int) -> NDArray[np.int64]:
    found = _vector(name, given, np.float64)
    if len(found) != number:
        raise UsageError(f"{name} has {len(found)} values for {number} arrivals")
    _all(found, (found == np.floor(found)) & (abs(found) < 2**31), name, "expected a whole number")
    return found.astype(np.int64)


def _vector(name: str, given: ArrayLike, kind: type[np.float64]) -> NDArray[np.float64]:
    try:
        found = np.ascontiguousarray(given, kind)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: {error}: expected numbers") from error
    if found.ndim != 1:
        raise UsageError(f"{name} has {found.ndim} dimensions: expected one")
    return found


def _all(
    values: NDArray[np.float64] | NDArray[np.int64], right: NDArray[np.bool_], name: str, why: str
) -> None:
    if not right.all():
        at = int(np.argmin(right))
        raise UsageError(f"{name} {at}: {values[at]!s}: {why}")
