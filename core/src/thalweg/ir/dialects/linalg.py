"""The part of xDSL's linalg dialect that the IR uses; xDSL moves these between modules, nobody else should
notice.
"""

from xdsl.dialects.linalg import Linalg
from xdsl.dialects.linalg.attrs import IteratorType, IteratorTypeAttr
from xdsl.dialects.linalg.ops import GenericOp, IndexOp, YieldOp

__all__ = ["GenericOp", "IndexOp", "IteratorType", "IteratorTypeAttr", "Linalg", "YieldOp"]
