"""The compiler: phases from an imported model to a module. May import ir, codegen, module, plugin."""
