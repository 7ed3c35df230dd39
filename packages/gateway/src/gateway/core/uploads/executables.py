"""Programs under names that pass for something else.

An honest program is PocketBase's to allow or refuse. Signatures: ELF gABI, PE format ("MZ", then "PE" where 0x3C says),
Mach-O and its fat binaries, the Java class file, WebAssembly, and `#!` of scripts. The file type libraries that are
kept take any text that begins with "MZ" for a program, and know neither Mach-O nor scripts.
"""

import re

from gateway.core.body_refusals import FieldError

_NAMED = {
    "elf": re.compile(r"appimage|axf|bin|elf|ko|mod|o|out|run|so"),
    "pe": re.compile(r"acm|ax|bin|com|cpl|dll|drv|efi|exe|fon|mui|node|ocx|pyd|scr|sys|tsp|winmd"),
    "mach-o": re.compile(r"bin|bundle|dylib|node|o|so"),
    "class": re.compile(r"class"),
    "wasm": re.compile(r"wasm"),
}
"""Extensions under which each of them is what it says it is, beside none at all."""

_MEDIA = re.compile(
    r"3gp|7z|aac|ai|avif?|bmp|bz2|csv|docx?|eps|epub|flac|flv|gif|gz|hei[cf]|ico|jfif|jpe?g|json|key|m4[av]|mkv|mov"
    r"|mp[34]|mpe?g|numbers|od[pst]|og[gv]|opus|otf|pages|pdf|png|pptx?|psd|rar|rtf|svg|tar|tiff?|ttf|wav|web[mp]"
    r"|wm[av]|woff2?|xlsx?|xml|xz|zip|zst"
)
"""Extensions of what is looked at, heard or unpacked; a script under any other is taken for text."""

_SHOWN = ("image/", "audio/", "video/", "font/", "application/pdf", "application/zip")
_SCRIPT = re.compile(rb"#! ?/")
_VERSIONED = re.compile(r"\.so(?:\.\d+)+")
_MACH_O = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
_FAT = b"\xca\xfe\xba\xbe"
_OLDEST_CLASS = 45
"""A class file's major version stands where a fat binary says how many architectures it has."""


def kind_of(head: bytes) -> str | None:
    """Which kind of program the first bytes show, if any."""
    if head.startswith(b"\x7fELF"):
        return "elf"
    if head.startswith(b"MZ") and is_portable_executable(head):
        return "pe"
    if head.startswith(_MACH_O):
        return "mach-o"
    if head.startswith(_FAT) and len(head) >= 8:
        return "class" if int.from_bytes(head[4:8], "big") & 0xFFFF >= _OLDEST_CLASS else "mach-o"
    if head.startswith(b"\0asm"):
        return "wasm"
    return "script" if _SCRIPT.match(head.removeprefix(b"\xef\xbb\xbf")) else None


def is_portable_executable(head: bytes) -> bool:
    begins = int.from_bytes(head[0x3C:0x40], "little")
    return len(head) >= 0x40 and head[begins : begins + 4] == b"PE\0\0"


def disguised(filename: str, declared_type: str, head: bytes) -> FieldError | None:
    """The error of a program that its name or declared type calls something else."""
    kind = kind_of(head)
    if kind is None or not is_disguise(kind, filename.lower(), declared_type.strip().lower()):
        return None
    return FieldError("validation_disguised_executable", f"{filename} is a program under another name.")


def is_disguise(kind: str, filename: str, declared_type: str) -> bool:
    extension = filename.rpartition(".")[2] if "." in filename else ""
    if kind == "script":
        return bool(_MEDIA.fullmatch(extension)) or declared_type.startswith(_SHOWN)
    if declared_type.startswith((*_SHOWN, "text/")):
        return True
    return bool(extension) and not _NAMED[kind].fullmatch(extension) and not _VERSIONED.search(filename)
