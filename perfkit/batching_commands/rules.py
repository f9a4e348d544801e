"""Options of a policy's rules, and the policies that they make."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, cast

from perfkit.batching_commands.grouped import flag, not_negative, option
from perfkit.errors import UsageError, unknown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from perfkit.batching.fleet import Routing
    from perfkit.batching.job import AnyPolicy

_RULES, _FLEET = "The policy's rules", "A fleet of replicas (dynamic)"


@dataclass(frozen=True)
class RuleOptions:
    """The rules of a policy but for its largest batch and delay; each policy has some of them."""

    instances: Annotated[
        int | None, option(_RULES, "static, dynamic, one-by-one: servers of one queue; 1.")
    ] = None
    preferred: Annotated[
        list[int] | None, option(_RULES, "dynamic: a size sent without waiting; repeatable.")
    ] = None
    max_queue: Annotated[
        int | None, option(_RULES, "dynamic: requests waiting at which the next is refused.")
    ] = None
    timeout_ms: Annotated[float | None, option(_RULES, "dynamic: the longest wait.")] = None
    timeout_action: Annotated[str | None, option(_RULES, "dynamic: reject or delay.")] = None
    preserve_ordering: Annotated[
        bool | None, option(_RULES, "dynamic: answers in the order of arrival.")
    ] = None
    prefetch: Annotated[
        bool | None, option(_RULES, "dynamic: batches formed ahead, as Triton's code does.")
    ] = None
    at_end: Annotated[
        str | None, option(_RULES, "static, dynamic: flush or strand the last few.")
    ] = None
    tie: Annotated[
        str | None, option(_RULES, "static, dynamic: arrivals_first or dispatch_first.")
    ] = None
    token_budget: Annotated[
        int | None, option(_RULES, "vllm, trtllm: most tokens of a step; 2048.")
    ] = None
    kv_blocks: Annotated[int | None, option(_RULES, "vllm, trtllm: KV blocks; 30000.")] = None
    block_size: Annotated[
        int | None, option(_RULES, "vllm, trtllm: tokens a block; 16 and 32.")
    ] = None
    chunked_prefill: Annotated[bool | None, option(_RULES, "vllm: cut prompts; on.")] = None
    long_prefill_threshold: Annotated[
        int | None, option(_RULES, "vllm: most prompt tokens of a request in a step.")
    ] = None
    full_sequence_must_fit: Annotated[
        bool | None, option(_RULES, "vllm: admit with blocks for the whole prompt alone.")
    ] = None
    watermark_blocks: Annotated[
        int | None, option(_RULES, "vllm: blocks kept free on admission.")
    ] = None
    max_model_len: Annotated[int | None, option(_RULES, "vllm: longest sequence.")] = None
    async_scheduling: Annotated[
        bool | None, option(_RULES, "vllm: schedule a step when the one before starts.")
    ] = None
    chunk_unit: Annotated[
        int | None, option(_RULES, "trtllm: contexts are cut in units of so many tokens.")
    ] = None
    chunking: Annotated[
        str | None,
        option(_RULES, "trtllm: FIRST_COME_FIRST_SERVED or EQUAL_PROGRESS."),
    ] = None
    replicas: Annotated[int | None, option(_FLEET, "Servers with a queue each.")] = None
    routing: Annotated[
        str | None, option(_FLEET, "random, round-robin, shortest, power-of-d (default).")
    ] = None

    def build(
        self,
        kinds: Sequence[str],
        max_batch: Sequence[int] | None,
        delay_ms: Sequence[float] | None,
        *,
        usual: Sequence[int],
    ) -> tuple[AnyPolicy, ...]:
        """Return the policies of these kinds, each with every largest batch and delay it can have.

        None is not given; ``usual`` are the largest batches then. Raises UsageError for an unknown
        kind, for what a policy refuses, and for an option that none of the kinds has or that does
        nothing without another.
        """
        from perfkit.batching.job import KINDS

        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(unknown("policy", kind, KINDS))
        self._check(kinds, max_batch, delay_ms)
        delays = delay_ms if delay_ms is not None else (0.0,)
        found: list[AnyPolicy] = []
        for most in max_batch or usual:
            for kind in kinds:
                for delay in delays if kind == "dynamic" else (0.0,):
                    try:
                        policy = self._policy(kind, most, delay)
                    except UsageError as error:
                        raise UsageError(_as_option(str(error))) from None
                    if policy not in found:
                        found.append(policy)
        return tuple(found)

    def _given(self) -> dict[str, Any]:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}

    def _check(
        self,
        kinds: Sequence[str],
        max_batch: Sequence[int] | None,
        delay_ms: Sequence[float] | None,
    ) -> None:
        lists = {"delay_ms": delay_ms, "max_batch": max_batch}
        asked = {*self._given(), *(name for name, given in lists.items() if given is not None)}
        many = self.replicas is not None
        taken = set().union(*(_taken(kind, many=many) for kind in kinds))
        for name in sorted(asked - taken):
            raise UsageError(
                f"{flag(name)} is no option of {', '.join(kinds)}"
                f"{' in a fleet' if many else ''}: leave it out, or choose another --policy"
            )
        for name, needed in (("timeout_action", "timeout_ms"), ("chunking", "chunk_unit")):
            if name in asked and needed not in asked:
                raise UsageError(f"{flag(name)} does nothing without {flag(needed)}: give that too")
        if "at_end" in asked and "static" not in kinds and math.inf not in (delay_ms or ()):
            raise UsageError(
                "--at-end is of batches that may never fill, static ones or with --delay-ms inf: "
                "leave it out"
            )
        for delay in delay_ms or ():
            not_negative("delay_ms", delay)
        if self.timeout_ms is not None and not 0 < self.timeout_ms < math.inf:
            raise UsageError(f"--timeout-ms {self.timeout_ms}: expected a finite number over 0")
        if many and set(kinds) != {"dynamic"}:
            raise UsageError(f"a fleet is of dynamic replicas, not of {', '.join(kinds)}")

    def _policy(self, kind: str, most: int, delay_ms: float) -> AnyPolicy:
        from perfkit.batching.continuous import TrtLlm, VllmLike
        from perfkit.batching.fleet import Fleet
        from perfkit.batching.job import CAPACITY
        from perfkit.batching.policies import Dynamic, OneByOne, Static

        given = {
            name: value
            for name, value in self._given().items()
            if name in _taken(kind, many=self.replicas is not None)
        }
        budget, blocks = given.pop("token_budget", 2048), given.pop("kv_blocks", 30_000)
        if kind == "one-by-one":
            return OneByOne(**given)
        if kind == "static":
            return Static(most, **given)
        if kind == "vllm":
            return VllmLike(most, budget, blocks, **given)
        if kind in CAPACITY:
            if "block_size" in given:
                given["tokens_per_block"] = given.pop("block_size")
            return TrtLlm(CAPACITY[kind], most, budget, blocks, **given)
        if self.replicas is not None:
            routing = cast("Routing", self.routing or "power-of-d")
            return Fleet(self.replicas, routing, most, delay_ms / 1e3)
        if "timeout_ms" in given:
            given["timeout_s"] = given.pop("timeout_ms") / 1e3
        given["preferred"] = tuple(given.get("preferred", ()))
        return Dynamic(most, delay_ms / 1e3, **given)


_INTERNAL = {
    "batch": "max_batch", "max_num_seqs": "max_batch", "max_batch_size": "max_batch",
    "max_num_tokens": "token_budget", "tokens_per_block": "block_size",
}  # fmt: skip


def _as_option(problem: str) -> str:
    """Say a policy's refusal, which begins with the name of a field, by the option's name."""
    name, space, rest = problem.partition(" ")
    name = _INTERNAL.get(name, name)
    options = {"max_batch", *(field.name for field in fields(RuleOptions))}
    return f"{flag(name) if name in options else name}{space}{rest}"


_TAKEN = {
    "one-by-one": {"instances"},
    "static": {"max_batch", "instances", "at_end", "tie"},
    "dynamic": {
        "max_batch", "delay_ms", "instances", "preferred", "max_queue", "timeout_ms",
        "timeout_action", "preserve_ordering", "prefetch", "at_end", "tie",
    },
    "vllm": {
        "max_batch", "token_budget", "kv_blocks", "block_size", "chunked_prefill",
        "long_prefill_threshold",
        "full_sequence_must_fit", "watermark_blocks", "max_model_len", "async_scheduling",
    },
    "trtllm": {"max_batch", "token_budget", "kv_blocks", "block_size", "chunk_unit", "chunking"},
}  # fmt: skip


def _taken(kind: str, *, many: bool) -> set[str]:
    """Return the options that a kind of policy has."""
    if many:
        return {"max_batch", "delay_ms", "replicas", "routing"}
    return _TAKEN["trtllm" if kind.startswith("trtllm") else kind]
