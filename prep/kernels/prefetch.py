"""Ask the processor for memory that a loop will reach soon: its own guess ends at every page of 4 KiB."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_FOR_READING, _EVERY_LEVEL, _DATA = 0, 3, 1


def _prefetch(_: Any, array: Any, index: Any) -> Any:
    """``prefetch(array, index)`` inside a compiled loop: advice, so ``index`` may lie beyond the end."""

    def compose(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        start = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(start, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place.type, number, number, number])
        advise = builder.module.declare_intrinsic("llvm.prefetch", [place.type], kind)
        builder.call(advise, [place, number(_FOR_READING), number(_EVERY_LEVEL), number(_DATA)])
        return context.get_dummy_value()

    return types.void(array, index), compose


prefetch: Any = intrinsic(_prefetch)
