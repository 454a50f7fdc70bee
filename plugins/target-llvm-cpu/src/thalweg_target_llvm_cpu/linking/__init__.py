"""The parts of the static linker: reading ELF objects, relocating them, writing an ELF image."""
