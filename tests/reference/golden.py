"""Writes golden files for ops_golden: what ops must answer, as lines of text.

    case adamw w=33 m=33 ...    an op and its args, in the language of checkop
    tolerance 1e-06             relative to each element and to the root mean square of its operand
    set g 0.5 -1 ...            an operand's elements
    run                         one call; operands that change in place keep what they hold
    expect w 0.25 ...           what an operand must hold now
"""
import numpy


def f32(x):
    """The number that an op gets when it is given x."""
    return float(numpy.float32(x))


def numbers(x):
    return " ".join("%.9g" % v for v in numpy.asarray(x, dtype=numpy.float64).ravel())


def case(op, tolerance=1e-6, **args):
    print("case", op, " ".join("%s=%s" % item for item in args.items()))
    print("tolerance %g" % tolerance)


def put(name, x):
    print("set", name, numbers(x))


def run():
    print("run")


def expect(name, x):
    print("expect", name, numbers(x))
