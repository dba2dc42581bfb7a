"""What a filter says, whatever its clauses are: terms that all hold, of which one holds, or that do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

Leaf = TypeVar("Leaf")


@dataclass(frozen=True, slots=True)
class And(Generic[Leaf]):
    """Every term holds."""

    terms: "tuple[Tree[Leaf], ...]"


@dataclass(frozen=True, slots=True)
class Or(Generic[Leaf]):
    """At least one term holds."""

    terms: "tuple[Tree[Leaf], ...]"


@dataclass(frozen=True, slots=True)
class Not(Generic[Leaf]):
    """The term does not hold."""

    term: "Tree[Leaf]"


Tree: TypeAlias = Leaf | And[Leaf] | Or[Leaf] | Not[Leaf]


def leaves(tree: Tree[Leaf] | None) -> list[Leaf]:
    """The clauses of a tree, from left to right."""
    match tree:
        case And(terms) | Or(terms):
            return [leaf for term in terms for leaf in leaves(term)]
        case Not(term):
            return leaves(term)
        case None:
            return []
    return [tree]


def conjuncts(tree: Tree[Leaf]) -> Sequence[Tree[Leaf]]:
    """What must all be true, for the tree to be."""
    return tree.terms if isinstance(tree, And) else (tree,)
