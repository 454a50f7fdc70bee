"""The processor's features, from texts that Linux gives on several machines."""

from __future__ import annotations

from thalweg_driver_local.cpu_features import machine_features, parse_cpuinfo

X86 = """processor	: 0
vendor_id	: GenuineIntel
flags		: fpu sse sse2 pni ssse3 fma sse4_1 sse4_2 abm avx avx2 bmi1 bmi2 avx512f avx512_vnni

processor	: 1
flags		: fpu sse sse2 pni ssse3 fma sse4_1 sse4_2 abm avx avx2 bmi1 bmi2 avx512f
"""


def test_x86_features_have_llvms_names():
    features = parse_cpuinfo(X86)
    assert {"sse3", "sse4.1", "sse4.2", "lzcnt", "bmi", "bmi2", "avx2", "fma", "avx512f"} <= features
    assert not {"pni", "abm", "sse4_1", "fpu"} & features


def test_only_what_every_processor_has_counts():
    assert "avx512vnni" not in parse_cpuinfo(X86)
    assert "avx512vnni" in parse_cpuinfo(X86.partition("\n\n")[0])


def test_arm_features_have_llvms_names():
    text = "processor\t: 0\nFeatures\t: fp asimd asimdhp asimddp atomics crc32 sve i8mm bf16 unheardof\n"
    assert parse_cpuinfo(text) == {
        *("fp-armv8", "neon", "fullfp16", "dotprod", "lse", "crc", "sve", "i8mm", "bf16")
    }


def test_riscv_features_are_the_letters_and_long_names():
    text = "processor\t: 0\nisa\t\t: rv64imafdcv_zicbom_zba_svinval\n"
    assert parse_cpuinfo(text) == {*"mafdcv", "zicbom", "zba"}
    assert parse_cpuinfo("isa : rv64gc\n") == {*"mafdc"}


def test_what_says_nothing_gives_nothing():
    assert parse_cpuinfo("") == frozenset() and parse_cpuinfo("model name : x\nflags\n") == frozenset()
    assert parse_cpuinfo("isa : ia64\n") == frozenset()


def test_this_machine_is_asked_once():
    assert machine_features() is machine_features()
