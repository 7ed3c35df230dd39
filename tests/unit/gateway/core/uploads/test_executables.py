"""Programs under names that pass for something else."""

import pytest

from gateway.core.uploads.executables import disguised, kind_of

ELF = b"\x7fELF\x02\x01\x01" + bytes(100)
PE = b"MZ" + bytes(58) + (0x80).to_bytes(4, "little") + bytes(64) + b"PE\0\0" + bytes(100)
MACH_O = bytes.fromhex("cffaedfe07000001") + bytes(100)
FAT = bytes.fromhex("cafebabe00000002") + bytes(100)
CLASS = bytes.fromhex("cafebabe00000041") + bytes(100)
WASM = b"\0asm\x01\0\0\0" + bytes(10)
SCRIPT = b"#!/bin/sh\nrm -rf /\n"


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (ELF, "elf"),
        (PE, "pe"),
        (MACH_O, "mach-o"),
        (FAT, "mach-o"),
        (CLASS, "class"),
        (WASM, "wasm"),
        (SCRIPT, "script"),
        (b"\xef\xbb\xbf" + SCRIPT, "script"),
        (b"#! /usr/bin/env python", "script"),
        (b"MZ is how some texts begin" * 10, None),
        (b"MZ", None),
        (PE[:100], None),
        (b"#!no path", None),
        (b"\xca\xfe\xba", None),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"", None),
    ],
)
def test_a_program_is_known_by_its_first_bytes(head: bytes, kind: str | None) -> None:
    assert kind_of(head) == kind


@pytest.mark.parametrize(
    ("filename", "declared", "head"),
    [
        ("cat.png", "image/png", ELF),
        ("cat.png", "", PE),
        ("CAT.PNG", "", MACH_O),
        ("report.pdf.exe.pdf", "", PE),
        ("notes.txt", "", ELF),
        ("data.bin", "image/png", ELF),
        ("data.bin", " Text/Plain", ELF),
        ("song.mp3", "", SCRIPT),
        ("run.sh", "image/gif", SCRIPT),
        ("setup.exe", "", ELF),
        ("x.", "text/html", WASM),
    ],
)
def test_under_another_name_it_is_refused(filename: str, declared: str, head: bytes) -> None:
    error = disguised(filename, declared, head)
    assert error
    assert error.code == "validation_disguised_executable"


@pytest.mark.parametrize(
    ("filename", "declared", "head"),
    [
        ("ls", "application/octet-stream", ELF),
        ("libc.so.6.2", "", ELF),
        ("SETUP.EXE", "application/x-msdownload", PE),
        ("Main.class", "", CLASS),
        ("app.wasm", "application/wasm", WASM),
        ("run.sh", "text/x-shellscript", SCRIPT),
        ("README", "", SCRIPT),
        ("notes.txt", "text/plain", SCRIPT),
        ("cat.png", "image/png", b"\x89PNG\r\n\x1a\n"),
    ],
)
def test_under_its_own_it_is_for_pocketbase_to_judge(filename: str, declared: str, head: bytes) -> None:
    assert disguised(filename, declared, head) is None
