"""Operators' rules: when … then …, compiled once and applied to every request before it is planned.

Pure. `compile_rules` (rule_set) reads a text, `apply_rules` (apply) uses what it read; the language
is described in docs/rules.md.
"""
