"""Placeholders until the compiler's later phases define them."""
from xdsl.ir import Dialect
FLOW=Dialect("flow",[]); STREAM=Dialect("stream",[]); HAL=Dialect("hal",[]); VM=Dialect("vm",[])
