"""``thalweg compile``: a model in, one module out."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thalweg.errors import InvalidArgument, PluginError, ThalwegError
from thalweg.plugin.option_routing import OptionOwner, option_owners, route_options
from thalweg.plugin.registry import Registry
from thalweg.tools.arguments import Parser, comma_list
from thalweg.tools.listing import print_target_backends
from thalweg.tools.parameter_options import add_outside_options, moving_outside
from thalweg.tools.target_choice import choose_target_backends

if TYPE_CHECKING:
    from thalweg.compiler.cache import CachedCompilation
    from thalweg.compiler.cache_store import CacheStore

OPT_LEVELS = ("O0", "O1", "O2", "O3")
LAST_PHASE = "end"


def configure(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Add the options of ``thalweg compile``, and those of the plugins that ``words`` choose."""
    parser.add_argument("model", nargs="?", metavar="MODEL", help="the model's file")
    parser.add_argument(
        "-o", "--output", metavar="OUT", help="the module to write (.twm), or MLIR with --compile-to"
    )
    _add_target_options(parser)
    parser.add_argument("--opt-level", default="O2", choices=OPT_LEVELS, help="default: O2")
    parser.add_argument(
        "--compile-to", default=LAST_PHASE, metavar="PHASE", help="stop after this phase and write its MLIR"
    )
    parser.add_argument(
        "--no-cache", action="store_true", help="compile anew, and keep nothing in the compile cache"
    )
    parser.add_argument(
        "--dump-dir", metavar="DIR", help="write every phase, every executable and a picture (graph.svg) here"
    )
    parser.add_argument(
        "--strip-debug-info",
        action="store_true",
        help="leave out what compare, benchmark --profile and run --trace-dispatches know of kernels",
    )
    add_outside_options(parser)
    parser.add_argument(
        "--list-target-backends", action="store_true", help="print the installed target backends"
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="print each phase, and a table of them at the end"
    )
    chosen = _parse_targets(words)
    if chosen.list_target_backends:
        parser.set_defaults(registry=Registry.from_environment())
        return
    _add_plugin_options(parser, chosen, wants_help="-h" in words or "--help" in words)


def run(options: argparse.Namespace) -> int:
    """Compile, or list target backends."""
    if options.list_target_backends:
        print_target_backends(options.registry)
        return 0
    if options.model is None:
        options.parser.error("a MODEL is needed")
    if options.output is None and options.compile_to == LAST_PHASE:
        options.parser.error("-o OUT is needed")
    if options.output in (None, "-"):
        if options.compile_to == LAST_PHASE:
            raise InvalidArgument("a module is not written to standard output; name a file with -o")
        with moving_outside(options):  # refuses, as there is no module
            result, _ = _compile(options, _settings(options))
        sys.stdout.write(result.text)
        return 0
    _compile_to_file(options)
    return 0


def _add_target_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--target-backend",
        action="append",
        default=[],
        metavar="NAME",
        help="make code with this target backend, one variant each; repeatable, or a comma list",
    )
    parser.add_argument(
        "--target-device",
        action="append",
        default=[],
        metavar="URI",
        help="make code for this device of this machine; repeatable, or a comma list",
    )


def _parse_targets(words: Sequence[str]) -> argparse.Namespace:
    """Parse only what decides which plugins take part."""
    parser = Parser(prog="thalweg compile", add_help=False)
    _add_target_options(parser)
    parser.add_argument("--list-target-backends", action="store_true")
    return parser.parse_known_args(list(words))[0]


def _add_plugin_options(
    parser: argparse.ArgumentParser, chosen: argparse.Namespace, wants_help: bool
) -> None:
    registry = Registry.from_environment()
    try:
        backends = choose_target_backends(
            registry, comma_list(chosen.target_backend), comma_list(chosen.target_device)
        )
        owners = option_owners(registry, backends)
    except ThalwegError:
        if not wants_help:
            raise
        backends, owners = [], ()
    flags: dict[str, str] = {}
    taken = set(parser._option_string_actions)
    group = parser.add_argument_group("options of the plugins that take part") if owners else parser
    for owner in owners:
        for field in owner.fields:
            if field.flag in taken:
                whose = f"{owner.kind} {owner.name!r}"
                raise PluginError(
                    f"{whose} declares the option {field.flag}, which thalweg compile has itself"
                )
            if field.flag not in flags:
                flags[field.flag] = field.keyword
                _add_plugin_option(group, owner, field)
    parser.set_defaults(
        registry=registry, backends=backends, owners=owners, plugin_keywords=tuple(flags.values())
    )


def _add_plugin_option(group: Any, owner: OptionOwner, field: Any) -> None:
    choices = f" ({', '.join(map(str, field.choices))})" if field.choices else ""
    keywords: dict[str, Any] = {
        "dest": f"plugin_{field.keyword}",
        "default": argparse.SUPPRESS,
        "metavar": field.metavar or field.keyword.rpartition("_")[2].upper(),
        "help": f"{owner.name}: {field.help}{choices}; default: {_default_text(field.default)}".replace(
            "%", "%%"
        ),
    }
    if field.is_switch:
        keywords |= {"nargs": "?", "const": "true"}
    if field.is_list or field.makes_variants:
        keywords["action"] = "append"
    group.add_argument(field.flag, **keywords)


def _default_text(value: Any) -> str:
    return str(getattr(value, "value", value)) if value not in (None, (), "") else "none"


def _settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of the compiler that shape a module, by name."""
    values = {
        keyword: getattr(options, f"plugin_{keyword}")
        for keyword in options.plugin_keywords
        if hasattr(options, f"plugin_{keyword}")
    }
    return {
        "target_backends": options.backends,
        "options": route_options(options.owners, values),
        "opt_level": options.opt_level,
        "debug_info": not options.strip_debug_info,
    }


def _compile(options: argparse.Namespace, settings: Mapping[str, Any]) -> tuple[Any, float]:
    """Return the result and the seconds it took."""
    from thalweg.python_api import import_compiler  # the compiler is slow to import
    from thalweg.tools.progress import show_progress

    compile_model = import_compiler().compile_model
    start = time.perf_counter()
    with show_progress(options.verbose) as progress:
        result = compile_model(
            Path(options.model),
            compile_to=options.compile_to,
            dump_dir=Path(options.dump_dir) if options.dump_dir else None,
            progress=progress,
            registry=options.registry,
            **settings,
        )
    if options.verbose:
        from thalweg.tools.phase_table import phase_table

        print(phase_table(result.phases), file=sys.stderr)
    return result, time.perf_counter() - start


def _compile_to_file(options: argparse.Namespace) -> None:
    from thalweg.tools.output_file import replacing  # importing it is wasted on a wrong command line

    start = time.perf_counter()
    with replacing(options.output) as temporary, moving_outside(options) as move_outside:
        if options.compile_to != LAST_PHASE:
            result, _ = _compile(options, _settings(options))
            temporary.write_text(result.text, "utf-8")
            return
        found = _make_module(options, temporary)
        if move_outside is not None:
            move_outside(temporary)
    if options.verbose or sys.stderr.isatty():
        seconds = time.perf_counter() - start
        size = Path(options.output).stat().st_size
        made = f"{', '.join(options.backends)}, {'from the cache, ' if found else ''}in {seconds:.2f} s"
        print(f"wrote {options.output}: {size:,} bytes, {made}", file=sys.stderr)


def _make_module(options: argparse.Namespace, target: Path) -> bool:
    """Write the module to ``target``, and return whether it came from the cache."""
    # The cache is wasted on a wrong command line, NumPy on a module that is found there.
    from thalweg.compiler.cache import CachedCompilation, file_source, open_store

    settings, store, model = _settings(options), open_store(), Path(options.model)
    compilation = None
    if not (options.no_cache or options.dump_dir):  # what is to be dumped must be made
        compilation = CachedCompilation.of(store, options.registry, file_source(model), settings)
    if compilation is not None and (stored := compilation.find()) is not None:
        target.write_bytes(stored.content)
        return True
    result, seconds = _compile(options, settings)
    from thalweg.module.file import write_module
    from thalweg.python_api import compile_report

    write_module(result.module, target)
    if store is not None and target.is_file():  # not a device or a pipe
        report = compile_report(options.model, settings, result, seconds)
        _keep(options, settings, target, store, compilation, report)
    return False


def _keep(
    options: argparse.Namespace,
    settings: Mapping[str, Any],
    module_file: Path,
    store: CacheStore,
    compilation: CachedCompilation | None,
    report: Mapping[str, Any],
) -> None:
    """Store the module in the cache, and the report about it."""
    from thalweg.compiler.cache_key import file_digest
    from thalweg.python_api import import_compiler

    digest = None
    if compilation is not None:
        find = import_compiler().model_dependencies
        dependencies = find(Path(options.model), settings["options"], options.registry)
        digest = compilation.keep(lambda path: shutil.copyfile(module_file, path), report, dependencies)
    if digest is not None:
        return  # with its report
    try:
        store.write_report(file_digest(module_file), report)
    except OSError as error:
        # The module is there; that its phases' times are not kept is worth a line, not a failure.
        print(f"thalweg: warning: the compile report was not stored: {error}", file=sys.stderr)
