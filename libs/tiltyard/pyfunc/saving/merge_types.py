"""The one type of values that were seen with two: properties that one lacks become optional.

Source: mlflow/types/schema.py (_merge) at v3.17.2.
"""

from tiltyard.errors import InvalidParameterValue
from tiltyard.pyfunc.data_types import AnyType, Array, DataType, Map, Object, Property, Type


def merge_types(first: Type, second: Type) -> Type:
    """The type both values have. Raises: InvalidParameterValue if there is none."""
    if first == second and not isinstance(first, AnyType):
        return first
    if isinstance(first, AnyType):
        return second if isinstance(second, AnyType | DataType) else _with_nothing(second)
    if isinstance(second, AnyType):
        return _with_nothing(first)
    if isinstance(first, Object) and isinstance(second, Object):
        return _merge_objects(first, second)
    if isinstance(first, Array) and isinstance(second, Array) and first.spark_vector == second.spark_vector:
        return Array(merge_types(first.items, second.items), first.spark_vector)
    if isinstance(first, Map) and isinstance(second, Map):
        return Map(merge_types(first.values, second.values))
    raise InvalidParameterValue(
        "Expected all values in the list to be of the same type. To specify a model signature with a list containing "
        "elements of multiple types, define the signature with an array of any type."
    )


def _with_nothing(kind: Type) -> Type:
    """`kind` when one of the values was nothing: an object's properties may then all be absent."""
    if isinstance(kind, Object):
        return Object(tuple(Property(entry.name, entry.type, required=False) for entry in kind.properties))
    return kind


def _merge_objects(first: Object, second: Object) -> Object:
    merged = []
    for name in {**first.by_name, **second.by_name}:
        one, other = first.by_name.get(name), second.by_name.get(name)
        if one is not None and other is not None:
            merged.append(Property(name, merge_types(one.type, other.type), one.required and other.required))
        elif present := one or other:
            merged.append(Property(name, present.type, required=False))
    return Object(tuple(merged))
