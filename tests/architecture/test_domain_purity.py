"""The domain is pure: the standard library only, no floats, no clock, no chance, no input or output."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

DOMAIN = Path(__file__).parents[2] / "domain"
FILES = sorted(DOMAIN.rglob("*.py"))

# Standard library, but a door to the outside, to chance or to the machine's clock.
FORBIDDEN_MODULES = {
    "asyncio", "ctypes", "ftplib", "glob", "http", "importlib", "io", "locale", "logging", "mmap", "multiprocessing",
    "os", "pathlib", "platform", "queue", "random", "secrets", "select", "shutil", "signal", "smtplib", "socket",
    "sqlite3", "ssl", "statistics", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
CLOCK_READERS = {"now", "utcnow", "today", "localtime", "monotonic", "perf_counter", "time_ns"}
DRAWS = {"uuid1", "uuid4", "urandom", "getrandbits", "randbelow", "token_bytes", "token_hex"}
FORBIDDEN_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
FLOAT_MATH = {
    "sqrt", "log", "log2", "log10", "log1p", "exp", "exp2", "expm1", "pow", "fsum", "fmod", "pi", "tau", "inf", "nan",
    "truediv",
}  # fmt: skip


def impurities(source: str) -> Iterator[str]:
    """What in a module's source is not pure, one sentence each."""
    for node in ast.walk(ast.parse(source)):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Import(names=names):
                yield from (f"{line}: imports {name.name}" for name in names if not _may_import(name.name))
            case ast.ImportFrom(module=module, level=level):
                if level == 0 and not _may_import(module or ""):
                    yield f"{line}: imports {module}"
            case ast.Constant(value=float() | complex()):
                yield f"{line}: float literal"
            case ast.Name(id="float" | "complex"):
                yield f"{line}: names a float type"
            case ast.BinOp(op=ast.Div(), left=left, right=right) if not (_is_exact(left) or _is_exact(right)):
                yield f"{line}: true division (two ints would make a float): use //, divmod or Fraction(a, b)"
            case ast.AugAssign(op=ast.Div()):
                yield f"{line}: true division in place: use Fraction(a, b)"
            case ast.Attribute(attr=name) if name in CLOCK_READERS:
                yield f"{line}: reads a clock by .{name}"
            case ast.Attribute(attr=name) | ast.Name(id=name) if name in DRAWS:
                yield f"{line}: draws by chance with {name}"
            case ast.Attribute(attr=name, value=ast.Name(id="math" | "cmath" | "operator")) if name in FLOAT_MATH:
                yield f"{line}: float mathematics {name}"
            case ast.Attribute(attr="total_seconds" | "timestamp" | "from_float" as name):
                yield f"{line}: .{name} deals in floats"
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield f"{line}: calls {name}"


def _is_exact(operand: ast.expr) -> bool:
    """An operand that can be seen to be a Fraction or a Decimal, so that the quotient is one."""
    match operand:
        case ast.Call(func=ast.Name(id="Fraction" | "Decimal")):
            return True
    return False


def _may_import(module: str) -> bool:
    top = module.partition(".")[0]
    return top == "domain" or (top in sys.stdlib_module_names and top not in FORBIDDEN_MODULES)


def test_there_are_domain_files_to_look_at() -> None:
    assert DOMAIN / "kernel" / "money.py" in FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DOMAIN)))
def test_the_domain_is_pure(path: Path) -> None:
    assert list(impurities(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import asyncpg",
        "import infra.clock",
        "from infra import clock",
        "import random",
        "import time",
        "price = 1.5",
        "wave = 2j",
        "def price() -> float: ...",
        "def price(at: 'int', by: float): ...",
        "price = float('1')",
        "price = total / count",
        "price /= 2",
        "from datetime import datetime\nat = datetime.now()",
        "from datetime import date\nat = date.today()",
        "import uuid\nkey = uuid.uuid4()",
        "from uuid import uuid4\nkey = uuid4()",
        "import math\nroot = math.sqrt(2)",
        "length = (end - start).total_seconds()",
        "rate = Decimal.from_float(rate)",
        "open('prices.csv')",
    ],
)
def test_what_is_not_pure_is_found(source: str) -> None:
    assert list(impurities(source)) != []


@pytest.mark.parametrize(
    "source",
    [
        "from decimal import Decimal\nrate = Decimal('1.5')",
        "from fractions import Fraction\nshare = Fraction(1, 2)",
        "from fractions import Fraction\nrate = Fraction(percent) / 100",
        "import domain.money",
        "from math import lcm\nshares = lcm(2, 3) // 2",
        "from datetime import datetime\ndef decide(now: datetime) -> None: ...",
    ],
)
def test_what_is_pure_is_let_through(source: str) -> None:
    assert list(impurities(source)) == []
