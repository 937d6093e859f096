"""Columns of the metadata tables of .NET assemblies and portable PDBs, and what each kind of index points to.

Source: ECMA-335 (6th edition), partition II, chapters 22 and 24.2.6; Portable PDB 1.0, "Metadata tables".
"""

from __future__ import annotations

TYPE_REF, TYPE_DEF, FIELD, METHOD_DEF, PARAM, MEMBER_REF = 1, 2, 4, 6, 8, 10
STAND_ALONE_SIG, TYPE_SPEC, METHOD_SPEC, PROPERTY = 17, 27, 43, 23
METHOD_DEBUG_INFORMATION = 49

_HAS_ATTRIBUTE = (6, 4, 1, 2, 8, 9, 10, 0, 14, 23, 20, 17, 26, 27, 32, 35, 38, 39, 40, 42, 44, 43)
_HAS_DEBUG_INFORMATION = (*_HAS_ATTRIBUTE, 48, 50, 51, 52, 53)

CODED: dict[str, tuple[int, tuple[int | None, ...]]] = {
    "TypeDefOrRef": (2, (2, 1, 27)),
    "HasConstant": (2, (4, 8, 23)),
    "HasCustomAttribute": (5, _HAS_ATTRIBUTE),
    "HasFieldMarshal": (1, (4, 8)),
    "HasDeclSecurity": (2, (2, 6, 32)),
    "MemberRefParent": (3, (2, 1, 26, 6, 27)),
    "HasSemantics": (1, (20, 23)),
    "MethodDefOrRef": (1, (6, 10)),
    "MemberForwarded": (1, (4, 6)),
    "Implementation": (2, (38, 35, 39)),
    "CustomAttributeType": (3, (None, None, 6, 10)),
    "ResolutionScope": (2, (0, 26, 35, 1)),
    "TypeOrMethodDef": (1, (2, 6)),
    "HasCustomDebugInformation": (5, _HAS_DEBUG_INFORMATION),
}
"""Coded indexes: how many low bits say the table, and the tables by what these bits say."""

COLUMNS: dict[int, str] = {
    0: "u2 string guid guid guid",
    1: "ResolutionScope string string",
    2: "u4 string string TypeDefOrRef t4 t6",
    3: "t4",
    4: "u2 string blob",
    5: "t6",
    6: "rva u2 u2 string blob t8",
    7: "t8",
    8: "u2 u2 string",
    9: "t2 TypeDefOrRef",
    10: "MemberRefParent string blob",
    11: "u2 HasConstant blob",
    12: "HasCustomAttribute CustomAttributeType blob",
    13: "HasFieldMarshal blob",
    14: "u2 HasDeclSecurity blob",
    15: "u2 u4 t2",
    16: "u4 t4",
    17: "blob",
    18: "t2 t20",
    19: "t20",
    20: "u2 string TypeDefOrRef",
    21: "t2 t23",
    22: "t23",
    23: "u2 string blob",
    24: "u2 t6 HasSemantics",
    25: "t2 MethodDefOrRef MethodDefOrRef",
    26: "string",
    27: "blob",
    28: "u2 MemberForwarded string t26",
    29: "rva t4",
    30: "u4 u4",
    31: "u4",
    32: "u4 u2 u2 u2 u2 u4 blob string string",
    33: "u4",
    34: "u4 u4 u4",
    35: "u2 u2 u2 u2 u4 blob string string blob",
    36: "u4 t35",
    37: "u4 u4 u4 t35",
    38: "u4 string blob",
    39: "u4 u4 string string Implementation",
    40: "u4 u4 string Implementation",
    41: "t2 t2",
    42: "u2 u2 TypeOrMethodDef string",
    43: "MethodDefOrRef blob",
    44: "t42 TypeDefOrRef",
    48: "blob guid blob guid",
    49: "t48 blob",
    50: "t6 t53 t51 t52 u4 u4",
    51: "u2 u2 string",
    52: "string blob",
    53: "t53 blob",
    54: "t6 t6",
    55: "HasCustomDebugInformation guid blob",
}
"""Columns by table: ``u2`` and ``u4`` are values, ``rva`` an address, ``t`` a row of that table (``t4``: of table 4),
``string``, ``blob`` and ``guid`` indexes into heaps, and the other words coded indexes."""
