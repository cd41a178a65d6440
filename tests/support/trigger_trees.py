"""Trees of triggers for Hypothesis: conditions joined as the parser joins them."""

from typing import Any

from hypothesis import strategies as st

from ldsync.engage.trigger import AllOf, AnyOf, Condition, Expression


def group(parts: list[Expression], *, every: bool) -> Expression:
    """Join parts, flat, as the parser does."""
    kind = AllOf if every else AnyOf
    flat: list[Any] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, kind) else (part,))
    return kind(tuple(flat))


def expressions(leaves: st.SearchStrategy[Condition]) -> st.SearchStrategy[Expression]:
    """Conditions joined, several levels deep."""
    return st.recursive(
        leaves,
        lambda inner: st.builds(
            lambda parts, every: group(parts, every=every),
            st.lists(inner, min_size=2, max_size=4),
            st.booleans(),
        ),
        max_leaves=12,
    )
