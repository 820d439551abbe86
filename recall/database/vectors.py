"""Arrays on the wire, binary both ways, without a Python loop over their elements."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pgvector import HalfVector
from pgvector.psycopg.halfvec import HalfVectorBinaryDumper
from psycopg import pq
from psycopg.adapt import Dumper, Loader

if TYPE_CHECKING:
    from psycopg.abc import AdaptContext, Buffer


@dataclass(frozen=True)
class HalfVectors:
    """Rows of `matrix` (float32, [n, dimension]) as one `halfvec[]` parameter.

    `element_oid` is the type's OID in this database: the binary form of an array names it.
    """

    matrix: np.ndarray
    element_oid: int

    def binary(self) -> bytes:
        """Return the array's binary form: a header, then each row as (size, dim, unused, half…)."""
        n, dimension = self.matrix.shape
        rows = np.empty(
            n,
            dtype=[("size", ">i4"), ("dim", ">i2"), ("unused", ">i2"), ("half", ">f2", dimension)],
        )
        rows["size"] = 4 + 2 * dimension
        rows["dim"] = dimension
        rows["unused"] = 0
        rows["half"] = self.matrix
        header = struct.pack("!iiIii", 1, 0, self.element_oid, n, 1)
        return header + rows.tobytes()


class HalfVectorsDumper(Dumper):
    """Sends HalfVectors in binary, its type left to the cast in the statement."""

    format = pq.Format.BINARY

    def dump(self, obj: HalfVectors) -> Buffer | None:
        return obj.binary()


_EPOCH = np.dtype([("size", ">i4"), ("value", ">i8")])

#: Element types that arrive as numpy arrays: bool[], int4[], int8[], float4[], timestamptz[].
_ELEMENTS: dict[int, np.dtype[Any]] = {
    1000: np.dtype([("size", ">i4"), ("value", "?")]),
    1007: np.dtype([("size", ">i4"), ("value", ">i4")]),
    1016: _EPOCH,
    1021: np.dtype([("size", ">i4"), ("value", ">f4")]),
    1185: _EPOCH,
}


class ArrayLoader(Loader):
    """Loads a binary array without nulls as a numpy array of its shape.

    timestamptz arrives as microseconds since 2000-01-01 UTC.
    """

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> np.ndarray:
        raw = bytes(data)
        dimensions, has_null, _ = struct.unpack_from("!iii", raw)
        if has_null:
            raise ValueError("an array with nulls has no numpy form")
        if dimensions == 0:
            return np.empty(0, _ELEMENTS[self.oid]["value"].newbyteorder("="))
        shape = tuple(struct.unpack_from("!ii", raw, 12 + 8 * d)[0] for d in range(dimensions))
        rows = np.frombuffer(raw, _ELEMENTS[self.oid], offset=12 + 8 * dimensions)
        return rows["value"].astype(rows["value"].dtype.newbyteorder("=")).reshape(shape)


def speak_binary(context: AdaptContext) -> None:
    """Make a connection or cursor send a HalfVector as bytes and load binary arrays as numpy's.

    The vector's type is left to the cast in the statement; the arrays are those of numbers,
    booleans and times.
    """
    context.adapters.register_dumper(HalfVector, HalfVectorBinaryDumper)
    for oid in _ELEMENTS:
        context.adapters.register_loader(oid, ArrayLoader)
