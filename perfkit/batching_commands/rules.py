"""Options of a policy's rules, and the policies that they make."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, cast

from perfkit.batching_commands.grouped import flag, option
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
        self, kinds: Sequence[str], max_batch: Sequence[int], delay_ms: Sequence[float] | None
    ) -> tuple[AnyPolicy, ...]:
        """Return the policies of these kinds, each with every largest batch and delay it can have.

        Raises UsageError for an unknown kind, for what a policy refuses, and for an option that
        none of the kinds has.
        """
        from perfkit.batching.job import KINDS

        for kind in kinds:
            if kind not in KINDS:
                raise UsageError(unknown("policy", kind, KINDS))
        self._check(kinds, delay_ms)
        delays = delay_ms if delay_ms is not None else (0.0,)
        found: list[AnyPolicy] = []
        for most in max_batch:
            for kind in kinds:
                for delay in delays if kind == "dynamic" else (0.0,):
                    policy = self._policy(kind, most, delay)
                    if policy not in found:
                        found.append(policy)
        return tuple(found)

    def _given(self) -> dict[str, Any]:
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in given.items() if value is not None}

    def _check(self, kinds: Sequence[str], delay_ms: Sequence[float] | None) -> None:
        asked = {*self._given(), *(("delay_ms",) if delay_ms is not None else ())}
        many = self.replicas is not None
        taken = set().union(*(_taken(kind, many=many) for kind in kinds))
        for name in sorted(asked - taken):
            raise UsageError(
                f"{flag(name)} is no option of {', '.join(kinds)}"
                f"{' in a fleet' if many else ''}: leave it out, or choose another --policy"
            )
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


_TAKEN = {
    "one-by-one": {"instances"},
    "static": {"instances", "at_end", "tie"},
    "dynamic": {
        "delay_ms", "instances", "preferred", "max_queue", "timeout_ms", "timeout_action",
        "preserve_ordering", "prefetch", "at_end", "tie",
    },
    "vllm": {
        "token_budget", "kv_blocks", "block_size", "chunked_prefill", "long_prefill_threshold",
        "full_sequence_must_fit", "watermark_blocks", "max_model_len", "async_scheduling",
    },
    "trtllm": {"token_budget", "kv_blocks", "block_size", "chunk_unit", "chunking"},
}  # fmt: skip


def _taken(kind: str, *, many: bool) -> set[str]:
    """Return the options that a kind of policy has."""
    if many:
        return {"delay_ms", "replicas", "routing"}
    return _TAKEN["trtllm" if kind.startswith("trtllm") else kind]
