"""Fuzzing of every parser of bytes from outside: ``python3 run.py fuzz [TARGET ...] [--seconds N]``.

    corpus/TARGET/*  ──►  engine (atheris, else hypothesis)  ──►  Rules.check(target, data)  ──►  parser

:mod:`fuzz.Rules` has the rules, :mod:`fuzz.Files` and :mod:`fuzz.Messages` the parsers, :mod:`fuzz.Engines` what makes
the bytes. A find is written to ``build/fuzz``; its smallest form belongs into the corpus once the parser is mended.
"""
